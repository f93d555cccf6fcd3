"""Random kills over a run, for each seed that is not stored, and the page of all faults.

python -m experiments.chaos [--seeds 0 1] [--tests REPORT.xml] [--only-write]

`--tests` is a JUnit report of tests that inject faults, whose outcomes go onto the page in place of earlier ones of the
same tests. `make test-faults` and `make chaos` write one. Seeds that are stored are not
run again, and one that was interrupted goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.chaos.account import account
from experiments.chaos.driver import EVENTS
from experiments.chaos.page import write_page
from experiments.chaos.rows import DATA, chaos_path, store_rows
from experiments.chaos.run import run_seed
from experiments.chaos.tested import TESTED, rows_of_report
from experiments.chaos.world import DISTURBED, WHOLE, run_config
from experiments.script import experiment
from pipelines.output.files import write_json
from pipelines.output.metrics_log import MetricsLog
from pipelines.output.progress import say


def main() -> None:
    """Run what is missing, then write docs/results/faults.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1], help="seeds of random kills")
    parser.add_argument("--folder", type=Path, default=Path("runs/chaos"), help="where the runs lie")
    parser.add_argument("--results", type=Path, default=Path("docs/results"), help="folder of the page")
    parser.add_argument("--tests", type=Path, help="JUnit report of the tests that inject faults")
    parser.add_argument("--only-write", action="store_true", help="draw the page again from the numbers alongside it")
    arguments = parser.parse_args()
    if arguments.tests is not None:
        known = {tested.test for tested in TESTED}
        store_rows(arguments.results / DATA / "tests.json", rows_of_report(arguments.tests), known=known)
    if not arguments.only_write:
        for seed in arguments.seeds:
            if not chaos_path(arguments.results, seed).is_file():
                _run(arguments.folder.absolute() / f"seed_{seed}", seed, arguments.results)
    say(f"written: {write_page(arguments.results)}")


def _run(folder: Path, seed: int, results: Path) -> None:
    run_seed(folder, seed)
    whole, disturbed = (run_config(folder, seed, name) for name in (WHOLE, DISTURBED))
    write_json(chaos_path(results, seed), account(whole, disturbed, MetricsLog(folder / EVENTS).read()))


if __name__ == "__main__":
    with experiment():
        main()
