"""`make map`: where the transform matters, by exact calculation; groups of cells that are stored are kept.

python -m experiments.map [--only-write]

Numbers are stored in docs/results/data/map, a file per group, from which the page and its figures are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.map.page import write_page
from experiments.map.real import load_real
from experiments.map.run import run_map
from experiments.map.stored import load_map, load_sampled
from experiments.script import experiment

RESULTS = Path("docs/results")


def main() -> None:
    """Compute what is missing, then write docs/results/map.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only-write", action="store_true", help="draw the page from the stored numbers")
    arguments = parser.parse_args()
    stored = RESULTS / "data" / "map"
    if not arguments.only_write:
        run_map(stored)
    write_page(load_map(stored), load_sampled(stored), load_real(RESULTS / "data" / "real_data"), RESULTS)


if __name__ == "__main__":
    with experiment():
        main()
