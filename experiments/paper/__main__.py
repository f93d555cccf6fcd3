"""`make paper`: the paper's experiments on the embedded world, each part alone or all; what is done is kept.

python -m experiments.paper [--part NAME ...] [--seeds 5] [--fast] [--only-write]

`main` is the study of both properties together (`make study`). Numbers are stored in docs/results/data, from which the
page and its figures are drawn. `--fast` is a rehearsal with two seeds and short trainings; it leaves everything, the
page too, in runs/paper_fast.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from experiments.map.stored import load_map
from experiments.open_world.stored import Stored
from experiments.paper.page import Elsewhere, write_page
from experiments.paper.parts import PARTS, Part
from experiments.paper.run import run_seed
from experiments.script import experiment
from experiments.study.runs import Plan, run_study, two_at_a_time
from experiments.study.worlds import world_config

DATA = Path("docs/results/data")  # of the other pages, whose numbers the table of claims shows
MAIN = "main"
FAST_TARGETS = (0.5, 1.0)  # the page looks at the arms of target KL 1
FAST_SETTINGS = (
    "sft.training.max_steps=120",
    *(f"properties.{name}.train.training.max_steps=60" for name in ("helpful", "harmless")),
    "align.steps=20",
    "align.optimizer.learning_rate=1e-3",
    "align.evaluate_every=15",
    "align.evaluation_samples=4",
    "align.checkpoint_every=20",
    "align.max_evaluation_prompts=48",
    "references.num_samples=32",
    "evaluate.prompts=100",
    "evaluate.bootstrap=500",
)


@dataclass(frozen=True)
class Experiments:
    """How much is run, and where numbers and the page go."""

    main: Plan
    stored: Path
    results: Path
    parts: tuple[Part, ...]


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=[MAIN, *PARTS], help="default: all")
    parser.add_argument("--seeds", type=int, help="default: 5; with --fast always 2")
    parser.add_argument("--fast", action="store_true", help="a rehearsal, within 20 minutes")
    parser.add_argument("--only-write", action="store_true", help="draw the page from the stored numbers")
    arguments = parser.parse_args()
    if arguments.fast and arguments.seeds is not None:
        parser.error("--fast has two seeds; leave --seeds out")
    experiments = _fast() if arguments.fast else _full(arguments.seeds or 5)
    if not arguments.only_write:
        _run(experiments, arguments.part or [MAIN, *PARTS])
    elsewhere = Elsewhere(load_map(DATA / "map"), Stored(DATA / "open_world").points())
    write_page(experiments.main.stored, experiments.stored, elsewhere, experiments.results)


def _full(num_seeds: int) -> Experiments:
    results = Path("docs/results")
    study = Plan(Path("runs/study"), results / "data" / "study", num_seeds=num_seeds)
    return Experiments(study, results / "data" / "paper", results, tuple(PARTS.values()))


def _fast() -> Experiments:
    folder = Path("runs/paper_fast")
    plan = Plan(folder, folder / "data" / "study", num_seeds=2, targets=FAST_TARGETS, shortcuts=(True,))
    plan = replace(plan, settings=(*plan.settings, *FAST_SETTINGS))
    parts = tuple(replace(p, targets=FAST_TARGETS if len(p.targets) > 1 else p.targets) for p in PARTS.values())
    return Experiments(plan, folder / "data" / "paper", folder, parts)


def _run(experiments: Experiments, names: Sequence[str]) -> None:
    if MAIN in names:
        run_study(experiments.main)
    chosen = [part for part in experiments.parts if part.name in names]
    world = partial(world_config, experiments.main.config())

    def run(seed: int) -> None:
        run_seed(world(seed=seed, shortcuts=True), world(seed=seed, shortcuts=False), chosen, experiments.stored)

    two_at_a_time(run, range(experiments.main.num_seeds), name=lambda seed: f"seed {seed}")


if __name__ == "__main__":
    with experiment():
        main()
