"""`make study`: raw sum against LSC sum at matched KL, over seeds, shortcuts on and off. Worlds that are done are kept.

python -m experiments.study [--seeds 5] [--folder runs/study] [--only-write]

Models lie in `--folder`; numbers are stored in docs/results/data/study, from which the page and its figures are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.script import experiment
from experiments.study.runs import Plan, run_study
from experiments.study.write import write_results
from pipelines.output.stamp import load_together

RESULTS = Path("docs/results")
STORED = RESULTS / "data" / "study"


def main() -> None:
    """Run what is missing, then write docs/results/quickstart_study.md from all stored numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs/study"))
    parser.add_argument("--only-write", action="store_true", help="draw the page from the stored numbers")
    arguments = parser.parse_args()
    if not arguments.only_write:
        run_study(Plan(arguments.folder, STORED, num_seeds=arguments.seeds))
    write_results(load_together(sorted(STORED.glob("*.json"))), RESULTS)


if __name__ == "__main__":
    with experiment():
        main()
