"""The worlds of the study: which are missing, and running them two at a time. What is stored is never run again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from experiments.study.design import TARGET_KLS, results_path
from experiments.study.worlds import run_world, world_config
from pipelines.config.loading import load_config
from pipelines.config.run import RunConfig
from pipelines.output.progress import say
from pipelines.run.session import ray_session

Item = TypeVar("Item")

SIDE_BY_SIDE = 2  # worlds at the same time, one thread each
SETTINGS = (  # what differs from quickstart, which is in more of a hurry
    "sft.training.max_steps=320",
    *(
        f"properties.{name}.train.training.{key}"
        for name in ("helpful", "harmless")
        for key in ("max_steps=200", "evaluate_every=100")
    ),
    "align.steps=240",
    "align.optimizer.schedule=cosine",  # its last quarter is below 15 % of the rate: utility and KL are flat at the end
    "align.evaluate_every=180",  # and at the end: the two bound the last quarter, and the page shows what changed in it
    "align.evaluation_samples=32",  # with 4 or 16, one arm's noise hides a change of 5 %
    "align.checkpoint_every=240",
    "references.num_samples=64",
    "evaluate.sft_samples_per_prompt=16",  # opponents, and the bars of evaluator 2
    "tracking.wandb=disabled",
)


@dataclass(frozen=True)
class Plan:
    """Where models lie, where numbers are stored, and how much is run. A `shortcuts` entry is a kind of world."""

    folder: Path
    stored: Path
    num_seeds: int = 5
    settings: tuple[str, ...] = SETTINGS
    targets: tuple[float, ...] = TARGET_KLS
    shortcuts: tuple[bool, ...] = (False, True)  # those without first: their held-out models judge the others too

    def config(self) -> RunConfig:
        """The run file of every world, before its seed."""
        overrides = [*self.settings, f"output_dir={self.folder.absolute()}"]
        return load_config(Path("configs/quickstart.yaml"), overrides)


def run_study(plan: Plan) -> None:
    """Run the worlds whose numbers are not stored. Those of one seed one after the other: they share models."""
    config = plan.config()
    worlds = {seed: [on for on in plan.shortcuts if not _is_stored(plan, seed, on)] for seed in range(plan.num_seeds)}
    missing = {seed: kinds for seed, kinds in worlds.items() if kinds}
    say(f"{sum(map(len, missing.values()))} of {plan.num_seeds * len(plan.shortcuts)} worlds to run")

    def run(seed: int) -> None:
        clean = world_config(config, seed=seed, shortcuts=False)
        for on in missing[seed]:
            chosen = world_config(config, seed=seed, shortcuts=on)
            run_world(chosen, clean, results_path(plan.stored, seed, on), targets=plan.targets)

    two_at_a_time(run, list(missing), name=lambda seed: f"seed {seed}")


def _is_stored(plan: Plan, seed: int, shortcuts: bool) -> bool:
    return results_path(plan.stored, seed, shortcuts).is_file()


def two_at_a_time(run: Callable[[Item], None], items: Sequence[Item], *, name: Callable[[Item], str]) -> None:
    """Run every item in a Ray session; a failure is reported at once, and raised when the others are done."""

    def told(item: Item) -> None:
        try:
            run(item)
        except Exception as error:
            say(f"{name(item)}: failed ({error})")
            raise

    with ray_session(), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        runs = [pool.submit(told, item) for item in items]
        try:
            wait(runs)  # `pool.map` would cancel the items that have not begun when one fails
        except KeyboardInterrupt:
            say("interrupted; what is finished is kept, and the same command goes on with the rest")
            os._exit(130)  # the pool would wait for the items that run, which may take an hour
    for done in runs:
        done.result()
