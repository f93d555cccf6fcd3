"""Predict settings by tilting, train them by RL, compare. Results that are there are kept, so it can be interrupted.

python -m experiments.preview_check [--chain runs/quickstart] [--folder runs/preview_check] [--only-write]

Needs a finished chain on the embedded world (`allgood quickstart`), whose data, SFT policy and reward models it shares.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.preview_check.design import Scale
from experiments.preview_check.run import run_check
from experiments.preview_check.write import load_results, stored_results, write_results
from experiments.script import experiment
from pipelines.config.loading import load_run
from pipelines.run.session import ray_session

EVALUATIONS = Scale.steps // Scale.evaluate_every


def main() -> None:
    """Run what is missing, then write docs/results/preview_vs_training.md from all results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chain", type=Path, default=Path("runs/quickstart"), help="run folder of a finished chain")
    parser.add_argument("--folder", type=Path, default=Path("runs/preview_check"), help="where results are kept")
    parser.add_argument("--results", type=Path, default=Path("docs/results"), help="folder of the page and its figures")
    parser.add_argument("--steps", type=int, default=Scale.steps, help="RL steps per setting")
    parser.add_argument("--only-write", action="store_true", help="draw the page again from the numbers alongside it")
    arguments = parser.parse_args()
    if arguments.steps < EVALUATIONS or arguments.steps % EVALUATIONS:
        parser.error(f"--steps must be a multiple of {EVALUATIONS}, so that an evaluation opens the last quarter")
    if arguments.only_write:
        entries = stored_results(arguments.results)
    else:
        chain = load_run(arguments.chain)
        with ray_session():
            run_check(
                chain,
                arguments.folder.absolute(),
                Scale(steps=arguments.steps, evaluate_every=arguments.steps // EVALUATIONS),
            )
        entries = load_results(arguments.folder)
    write_results(entries, arguments.results)


if __name__ == "__main__":
    with experiment():
        main()
