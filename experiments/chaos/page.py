"""`docs/results/faults.md`, from the stored rows and the stored seeds of random chaos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from actors.tables import markdown_table
from allgood.errors import DataError
from experiments.chaos.kills import LEAST_PER_ROLE, NUM_KILLS, NUM_STEPS, family_of
from experiments.chaos.rows import Row, stored_chaos, stored_rows
from pipelines.output.files import atomic_path

PAGE = "faults.md"
GROUPS = {
    1: "An actor dies",
    2: "A learner or a driver dies",
    3: "A signal to end",
    4: "A node is lost",
    5: "The network fails",
    6: "A checkpoint is damaged",
    7: "A hang, and what is left behind",
    8: "Poison",
}
COLUMNS = ("fault", "times", "survived", "seconds until it went on", "same result")
HEAD = f"""# What may die, and what comes of it

Made by `make chaos`; `python -m experiments.chaos --only-write` draws it again from [the stored numbers](data/faults).
Seeds of random kills that are stored are not run again; `make chaos ARGS="--seeds 2"` adds another. `make test-faults`
and then `make faults-page` renew the outcomes of the tests.
Real processes are killed, stopped or starved on one machine, with tiny models, so that a recovery costs mostly the
start of a process and its imports. How long that takes depends on the machine and on what else it does.

*Survived*: the run went on without an operator, or ended as it should, with the command that continues it. *Same
result*: weights, metrics and samples are those of an undisturbed run to the bit, seconds aside. *Seconds* count from
when a fault was seen; a hang is seen at its deadline.

## Random kills

A run of {NUM_STEPS} steps, two rollout actors, two reward actors, a reference policy, a learner and the driver.
{NUM_KILLS} kills at random steps, at least {LEAST_PER_ROLE} of each role. A driver that dies is started
again, and resumes. An actor is killed idle, or busy: stopped at a random moment, and killed when the run waits for its
answer. A kill counts if its victim was alive and its death was seen.
"""


def write_page(results: Path) -> Path:
    """Write the page from all that is stored alongside it.

    Raises:
        DataError: No seed is stored.
    """
    chaos, rows = stored_chaos(results), stored_rows(results)
    if not chaos:
        raise DataError(f"{results} holds no seed of random kills; run `make chaos` first")
    parts = [HEAD, _seeds(chaos), _roles(chaos)]
    parts += [_group(title, [row for row in rows if row.item == item]) for item, title in GROUPS.items()]
    with atomic_path(results / PAGE) as temporary:
        temporary.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return results / PAGE


def _seeds(chaos: Sequence[dict[str, Any]]) -> str:
    columns = ("seed", "kills that count", "prompt groups trained", "dropped", "missing or repeated", "same result")
    table = [
        (
            str(result["seed"]),
            f"{sum(kill['why_not'] is None for kill in result['kills'])} of {len(result['kills'])}",
            *(str(result["lineage"][name]) for name in ("trained", "dropped")),
            str(result["lineage"]["missing"] + result["lineage"]["repeated"]),
            _same(result),
        )
        for result in chaos
    ]
    others = [result["weights"] for result in chaos]
    differ = f"The {len(others)} seeds have {len(set(others))} different final weights.\n" if len(others) > 1 else ""
    return "\n".join([*markdown_table(columns, table), "", f"{differ}{_loads(chaos)}\n{_uncounted(chaos)}"])


def _loads(chaos: Sequence[dict[str, Any]]) -> str:
    each = ", ".join(f"seed {result['seed']} {result['load']:.0f} on {result['cores']}" for result in chaos)
    return f"Processes that wanted a core of the machine, and its cores: {each}.\n"


def _same(result: dict[str, Any]) -> str:
    different = [name for name, is_same in result["identical"].items() if not is_same]
    return f"no: {', '.join(different)}" if different else "yes"


def _uncounted(chaos: Sequence[dict[str, Any]]) -> str:
    uncounted = "".join(
        f"* Seed {result['seed']}, after step {kill['step']}, {kill['role']}: {kill['why_not']}.\n"
        for result in chaos
        for kill in result["kills"]
        if kill["why_not"] is not None
    )
    return uncounted + "".join(
        f"* Seed {result['seed']}: a driver ended with status {status} by itself, and was started again too.\n"
        for result in chaos
        for status in result["other_endings"]
    )


def _roles(chaos: Sequence[dict[str, Any]]) -> str:
    kills = [kill for result in chaos for kill in result["kills"] if kill["why_not"] is None]
    groups = sorted({(family_of(kill["role"]), kill["when"]) for kill in kills})
    table = []
    for family, when in groups:
        these = [kill for kill in kills if (family_of(kill["role"]), kill["when"]) == (family, when)]
        seconds = [kill["recovery_s"] for kill in these if kill["recovery_s"] is not None]
        words = family.replace("_", " ") + ("" if when == "any" else f", {when}")
        table.append((words, str(len(these)), str(sum(kill["num_retries"] for kill in these)), _seconds(seconds)))
    columns = ("kill -9 of", "times", "calls or runs begun again", "seconds until the next step was finished")
    return "\n".join([*markdown_table(columns, table), ""])


def _group(title: str, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    table = [(_linked(row), str(row.times), str(row.survived), _seconds(row.recovery_s), row.identical) for row in rows]
    return "\n".join([f"## {title}", "", *markdown_table(COLUMNS, table), ""])


def _linked(row: Row) -> str:
    return f"[{row.fault}](../../{row.shown_by.partition('::')[0]})"


def _seconds(seconds: Sequence[float]) -> str:
    """Median, and the range of several."""
    if not seconds:
        return "–"
    middle = f"{median(seconds):.1f}"
    return middle if len(seconds) == 1 else f"{middle} ({min(seconds):.1f} to {max(seconds):.1f})"
