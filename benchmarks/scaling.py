"""How a step's time falls with the number of rollout actors, when their work is a known delay.

    python -m benchmarks.scaling              # prints; --write also writes benchmarks/results/scaling.md

Everything but the models is what a run uses: the loop, lanes, pools, Ray's calls, messages of real size, the batch. A
rollout actor sleeps for the delay and returns a rollout; reward and reference-policy actor answer at once; the learner
is a pause in the driver. What a step takes beyond its delays is what allgood and Ray add.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from actors.cluster.limits import Limits
from actors.cluster.recipe import Recipe
from actors.cluster.recovery import Loss
from actors.cluster.supervision import Who
from actors.messages import Batch, Chunk, LogProbs, Rollout, Scores, UpdateResult
from actors.tables import markdown_table
from allgood.all_good import AllGood
from allgood.formula import Formula
from allgood.objectives import FormulaUtility
from allgood.treatment import Treatment
from allgood.views import PropertyView
from pipelines.alignment.ahead import StoredSteps
from pipelines.alignment.batch import assemble
from pipelines.alignment.loop import Plan, Roles, State, Step, Validation, align
from pipelines.cast.collect import Delivery
from pipelines.cast.lane import Lane
from pipelines.run.session import ray_session

PAGE = Path(__file__).parent / "results" / "scaling.md"
DELAY_S, CHUNKS, PROMPTS, SAMPLES, TOKENS = 0.25, 64, 16, 4, 256
PROPERTY = "good"
STEPS = 4  # the first one is not counted
LEARNER_S = CHUNKS * DELAY_S / 8  # as long as 8 rollout actors take for a step


class StandIn:
    """Every role: right in what it takes and gives, without a model."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        rows = PROMPTS * SAMPLES
        self.logprobs_of_rows = tuple(-draw.random(TOKENS, dtype=np.float32) for _ in range(rows))
        self.tokens = tuple(draw.integers(3, 8000, TOKENS).astype(np.int32) for _ in range(rows))
        self.text = "A sentence of an answer that goes on for a while. " * (TOKENS // 12)
        self.values = draw.normal(size=rows).astype(np.float32)

    def ready(self) -> bool:
        return True

    def generate(self, chunk: Chunk) -> Rollout:
        time.sleep(DELAY_S)
        rows = PROMPTS * SAMPLES
        return Rollout(
            chunk,
            self.tokens[:PROMPTS],
            self.tokens,
            self.logprobs_of_rows,
            self.logprobs_of_rows,
            (self.text,) * rows,
            ("eos",) * rows,
            0,
            DELAY_S,
        )

    def score(self, rollout: Rollout, key: str) -> Scores:
        return Scores(PROPERTY, PropertyView(self.values, self.values, self.values, -np.abs(self.values)), 0, 0.0)

    def logprobs(self, rollout: Rollout) -> LogProbs:
        return LogProbs(self.logprobs_of_rows, 0.0)


class StandIns:
    """The actors of a lane."""

    scorers = (PROPERTY,)

    def __init__(self, num_rollouts: int) -> None:
        make = ray.remote(StandIn).options(num_cpus=0.1).remote
        numbers = {"rollout": num_rollouts, f"reward.{PROPERTY}": 1, "reference_policy": 1}
        self._actors = {role: [make() for _ in range(number)] for role, number in numbers.items()}
        ray.get([actor.ready.remote() for actors in self._actors.values() for actor in actors])

    def handles(self, role: str) -> Sequence[Any]:
        return self._actors.get(role, ())

    def who(self, role: str, replica: int = 0) -> Who:
        return Who(role, replica)

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        """Nobody starts anew here."""

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        raise SystemExit(f"{role} {replica} was lost")

    def close(self) -> None:
        for actors in self._actors.values():
            for actor in actors:
                ray.kill(actor)


@dataclass(frozen=True)
class Measured:
    """Of one arrangement: median seconds of a step, and the driver's own CPU seconds per chunk."""

    step_s: float
    driver_s: float


def main() -> int:
    """Measure, print, and with --write keep the page."""
    torch.set_num_threads(1)  # as `allgood align` has it
    with ray_session():
        scaling = {number: measured(number, staleness=0, learner_s=0.0) for number in (1, 2, 4, 8)}
        overlap = {staleness: measured(8, staleness=staleness, learner_s=LEARNER_S) for staleness in (0, 1)}
    text = page(scaling, overlap)
    print(text)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    return 0


def measured(num_rollouts: int, *, staleness: int, learner_s: float) -> Measured:
    """Some steps with so many rollout actors."""
    actors = StandIns(num_rollouts)
    ends, cpu = [time.monotonic()], [time.process_time()]

    def observe(step: Step) -> None:
        ends.append(time.monotonic())
        cpu.append(time.process_time())

    asyncio.run(run(actors, observe, staleness, learner_s))
    actors.close()
    seconds = [end - start for start, end in itertools.pairwise(ends[1:])]
    return Measured(statistics.median(seconds), (cpu[-1] - cpu[1]) / (len(seconds) * CHUNKS))


async def run(actors: StandIns, observe: Callable[[Step], None], staleness: int, learner_s: float) -> None:
    lane = Lane(actors, key="benchmark", scorers=[PROPERTY], limits=Limits(deadline_s=60))  # type: ignore[arg-type]
    all_good = AllGood({PROPERTY: Treatment(transform="log_sigmoid")}, FormulaUtility(Formula(PROPERTY)))
    version = 0

    async def update(batch: Batch) -> UpdateResult:
        nonlocal version
        await asyncio.sleep(learner_s)
        version += 1
        return UpdateResult(version, {"seconds": learner_s})

    async def validate(state: State) -> Validation:
        return Validation(0.0, 0.0, {})

    async def commit(state: State, ahead: StoredSteps) -> None:
        return None

    plan = Plan(
        num_steps=STEPS,
        chunks=chunks,
        assemble=partial(assemble, all_good=all_good, max_nan_share=0.1),
        control_kl=lambda state, kl, rows: state,
        evaluate_every=STEPS,
        commit_every=STEPS,
        staleness=staleness,
    )
    await align(plan, Roles(lane.crew(), update, published, validate, commit), State(0, 0, 0.1, {}), observe)


def chunks(state: State) -> list[Chunk]:
    prompt = "\n\nHuman: " + "A question of some length, as people ask it. " * 8 + "\n\nAssistant:"
    ids = tuple(f"prompt {index}" for index in range(PROMPTS))
    return [
        Chunk(state.step, index, index, state.policy_version, ids, (prompt,) * PROMPTS, SAMPLES)
        for index in range(CHUNKS)
    ]


def published(version: int) -> Delivery:
    async def deliver() -> None:
        return None

    return deliver


def page(scaling: dict[int, Measured], overlap: dict[int, Measured]) -> str:
    """Both tables, with what was measured."""
    rows = [
        [
            str(number),
            f"{found.step_s:.2f} s",
            f"{CHUNKS * DELAY_S / number:.2f} s",
            f"{scaling[1].step_s / (number * found.step_s):.2f}",
            f"{1e3 * (found.step_s / CHUNKS - DELAY_S / number):.1f} ms",
            f"{1e3 * found.driver_s:.1f} ms",
        ]
        for number, found in scaling.items()
    ]
    overlapped = [
        [str(staleness), f"{found.step_s:.2f} s", f"{overlap[0].step_s / found.step_s:.2f}"]
        for staleness, found in overlap.items()
    ]
    per_chunk = ["beyond delays, per chunk", "driver's CPU per chunk"]
    lines = [
        "# Scaling over rollout actors",
        "",
        "Written by `python -m benchmarks.scaling --write`. Rollout actors sleep instead of generating; loop, lanes,",
        f"pools, Ray, messages and batch are those of a run. A step has {CHUNKS} chunks of {PROMPTS} prompts x "
        f"{SAMPLES}",
        f"samples x {TOKENS} tokens and {DELAY_S} s each, one property, all on one machine with "
        f"{os.cpu_count()} cores.",
        f"Median of {STEPS - 1} steps; Ray {ray.__version__}, torch {torch.__version__}; load average at the end "
        f"{os.getloadavg()[0]:.1f} (above the",
        "number of cores, other work was running too).",
        "",
        *markdown_table(["rollout actors", "a step", "its delays", "efficiency", *per_chunk], rows),
        "",
        "Efficiency is T1 / (n Tn). With one actor the time beyond delays is latency: it waits for its next chunk",
        "while its last answer travels. CPU is that of all threads of the driver's process.",
        "",
        f"With 8 rollout actors and a learner that takes {LEARNER_S:.0f} s for a step, as long as they do:",
        "",
        *markdown_table(["staleness", "a step", "times as fast"], overlapped),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
