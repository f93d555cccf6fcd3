"""Which kills count, what became of every prompt group, and whether the disturbed run is the undisturbed one.

A kill counts if its victim was alive, and if its death was seen: by the driver for an actor (an entry of
`faults.jsonl`), by whoever started it for the driver (its exit status). A busy victim must also have had a call in
flight: the run stood still, waiting for it.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.parquet as pq

from actors.location import usable_cores
from experiments.chaos.kills import DRIVER
from experiments.chaos.run import Ending, endings_in
from pipelines.config.run import RunConfig
from pipelines.data.prepared import load_prepared
from pipelines.data.prompt_order import run_prompts, step_prompts
from pipelines.output.hashes import sha256_of
from pipelines.output.metrics_log import MetricsLog
from pipelines.run.folder import RunFolder
from tests.pipelines.tiny_run import without_wall_clock

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Counted:
    """What came of one kill. `recovery_s`: from the kill until the run had finished its next new step.

    `why_not` says why it does not count, `num_retries` how many calls were made again because of it.
    """

    step: int
    role: str
    replica: int
    when: str
    why_not: str | None
    num_retries: int
    recovery_s: float | None


@dataclass(frozen=True)
class Lineage:
    """Prompt groups of the steps that led to the final weights, against those that the run should have met.

    `missing` should have been met and were neither trained nor dropped; `repeated` were met too often.
    """

    num_steps: int
    trained: int
    dropped: int
    missing: int
    repeated: int


def count_kills(events: Sequence[Row], faults: Sequence[Row], endings: Sequence[Ending]) -> list[Counted]:
    """What came of every kill, in their order."""
    killed_drivers = iter([ending for ending in endings if ending.status == -signal.SIGKILL])
    kills = [row for row in events if "kill" in row]
    counted = []
    for kill in kills:
        if kill["role"] == DRIVER:
            why_not, num_retries = (None if next(killed_drivers, None) else "the driver ended otherwise"), 1
        else:
            seen = [fault for fault in faults if _belongs(fault, kill, kills)]
            why_not, num_retries = _why_not(kill, seen), len(seen)
        after = [row["time"] for row in events if "finished" in row and row["time"] > kill["time"]]
        recovery = round(min(after) - kill["time"], 2) if after else None
        named = {name: kill[name] for name in ("step", "role", "replica", "when")}
        counted.append(Counted(**named, why_not=why_not, num_retries=num_retries, recovery_s=recovery))
    return counted


def _belongs(fault: Row, kill: Row, kills: Iterable[Row]) -> bool:
    """Whether a fault is of this kill, not of a later one of the same actor."""
    same = (fault["role"], fault["replica"]) == (kill["role"], kill["replica"])
    later = [row["time"] for row in kills if row["role"] == kill["role"] and row["time"] > kill["time"]]
    return same and kill["time"] < fault["time"] < min(later, default=float("inf"))


def _why_not(kill: Row, seen: Sequence[Row]) -> str | None:
    if not kill["alive"]:
        return "the victim was dead already"
    if not any("died" in fault["reason"] or "unreachable" in fault["reason"] for fault in seen):
        return "the driver did not see it die"
    if kill["when"] == "busy" and "stood_s" not in kill:
        return "nothing waited for it"
    return None


def lineage_of(config: RunConfig) -> Lineage:
    """What the logs of a finished run say of every prompt group that it should have met."""
    prompts = run_prompts(config, load_prepared(RunFolder(config.base_folder).data).prompts, "alignment")
    expected = Counter(
        (step + 1, prompt.id)
        for step in range(config.align.steps)
        for prompt in step_prompts(prompts, seed=config.seed, step=step, prompts_per_step=config.align.prompts_per_step)
    )
    rows = MetricsLog(RunFolder(config.folder).groups).read()
    trained = Counter((row["step"], prompt_id) for row in rows for prompt_id in row["trained"])
    dropped = Counter((row["step"], prompt_id) for row in rows for prompt_id in row["dropped"])
    met = trained + dropped
    return Lineage(
        num_steps=len(MetricsLog(RunFolder(config.folder).metrics).read()),
        trained=trained.total(),
        dropped=dropped.total(),
        missing=(expected - met).total(),
        repeated=(met - expected).total(),
    )


def sameness(one: RunConfig, other: RunConfig) -> dict[str, bool]:
    """What of two runs is equal to the bit, seconds and `ops.*` aside."""
    first, second = RunFolder(one.folder), RunFolder(other.folder)
    return {
        "weights": weights_hash(one) == weights_hash(other),
        "metrics": without_wall_clock(one) == without_wall_clock(other),
        "samples": pq.read_table(first.samples).equals(pq.read_table(second.samples)),
        "groups": first.groups.read_bytes() == second.groups.read_bytes(),
    }


def weights_hash(config: RunConfig) -> str:
    """sha256 of the file of the aligned policy's weights."""
    return sha256_of(RunFolder(config.folder).model / "model.safetensors")


def account(whole: RunConfig, disturbed: RunConfig, events: list[dict[str, Any]]) -> dict[str, Any]:
    """The stored result of a seed."""
    endings = endings_in(events)
    faults = MetricsLog(RunFolder(disturbed.folder).faults).read()
    finished = [row["time"] for row in events if "finished" in row]
    return {
        "seed": disturbed.seed,
        "kills": [asdict(kill) for kill in count_kills(events, faults, endings)],
        "lineage": asdict(lineage_of(disturbed)),
        "identical": sameness(whole, disturbed),
        "weights": weights_hash(whole),
        "other_endings": [ending.status for ending in endings[:-1] if ending.status != -signal.SIGKILL],
        "seconds": round(max(finished) - min(finished), 1),
        "cores": usable_cores(),
        "load": round(os.getloadavg()[2], 1),  # processes that wanted a core, mean of the last 15 minutes
    }
