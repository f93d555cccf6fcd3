"""`make open-world`: trained policies at both points of the open world, predicted before any is trained.

python -m experiments.open_world [--seeds N ...] [--points strong weak] [--folder runs/open_world]
                                 [--predict | --preregister | --only-write]

Three steps, in this order. `--predict` makes worlds and models, and predicts every arm from samples of the start
policies. `--preregister` writes experiments/open_world/preregistration.json and .md, to be committed with the
predictions. Without either, arms that are preregistered and missing are trained, and the page is written. Numbers are
stored in docs/results/data/open_world; an interrupted step goes on where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from experiments.open_world.design import POINTS
from experiments.open_world.models import Scale
from experiments.open_world.page import write_page
from experiments.open_world.preregistration import FILE, register, registered, require_committed
from experiments.open_world.registered_page import write_registered
from experiments.open_world.runs import run_arms_of, run_predictions
from experiments.open_world.settings import SETTINGS
from experiments.open_world.stored import Stored
from experiments.script import experiment

RESULTS = Path("docs/results")
STORED = Stored(RESULTS / "data" / "open_world")


def main() -> None:
    """Do the step that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: all")
    parser.add_argument("--points", nargs="+", choices=POINTS, default=list(POINTS))
    parser.add_argument("--folder", type=Path, default=Path("runs/open_world"))
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--predict", action="store_true", help="models and predictions; no arm is trained")
    steps.add_argument("--preregister", action="store_true", help="write down what is predicted, to be committed")
    steps.add_argument("--only-write", action="store_true", help="draw the page from the stored numbers")
    arguments = parser.parse_args()
    scale = Scale(SETTINGS, points=arguments.points)
    if arguments.seeds is not None:
        scale = replace(scale, seeds=arguments.seeds)
    if arguments.predict:
        run_predictions(scale, arguments.folder, STORED)
        return
    if arguments.preregister:
        register(STORED)
        write_registered(STORED, FILE.with_suffix(".md"))
        return
    if not arguments.only_write:
        registration = registered()
        require_committed([FILE])
        run_arms_of(scale, arguments.folder, STORED, registration)
    write_page(STORED, RESULTS)


if __name__ == "__main__":
    with experiment():
        main()
