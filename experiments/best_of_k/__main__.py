"""Best-of-k on real answers: train two reward models, score, measure on held-out prompts, write the page.

python -m experiments.best_of_k --data FOLDER [--encoder FOLDER] [--folder runs/best_of_k_real] [--only-write]

FOLDER holds helpful_pairs.jsonl.gz and helpful_candidates.jsonl.gz. What is trained or scored already is kept, so a
killed run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from allgood.errors import DataError
from experiments.best_of_k.analysis import results
from experiments.best_of_k.material import make_material
from experiments.best_of_k.models import MIN_ANSWERS, scored, study_config, trained
from experiments.best_of_k.write import write_page
from experiments.script import experiment
from pipelines.output.files import write_json
from pipelines.output.progress import say
from pipelines.output.stamp import stamped

DOCS = Path("docs/results")
STORED = DOCS / "data" / "best_of_k_real.json"


def main() -> None:
    """Run what is missing, then write docs/results/best_of_k_real.md from the stored results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the two data files")
    parser.add_argument("--encoder", help="backbone of both reward models; absent: the installed package")
    parser.add_argument("--folder", type=Path, default=Path("runs/best_of_k_real"))
    parser.add_argument("--only-write", action="store_true", help="draw page and figures from the stored results")
    arguments = parser.parse_args()
    if not arguments.only_write:
        if arguments.data is None:
            parser.error("give --data, the folder of helpful_pairs.jsonl.gz and helpful_candidates.jsonl.gz")
        _run(arguments.data, arguments.folder, arguments.encoder)
    if not STORED.is_file():
        raise DataError(f"{STORED} does not exist; run this with --data, without --only-write, first")
    write_page(json.loads(STORED.read_text(encoding="utf-8")), DOCS)
    say(f"results: {DOCS / 'best_of_k_real.md'}")


def _run(data: Path, folder: Path, encoder: str | None) -> None:
    config = study_config(folder, encoder)
    prompts = make_material(data, folder, seed=config.seed)
    reports = trained(config)
    found = results(scored(config, folder), reports, seed=config.seed)
    enough = sum(len(prompt.responses) >= MIN_ANSWERS for prompt in prompts)
    write_json(STORED, stamped(found | {"prompts_with_enough_answers": enough}))


if __name__ == "__main__":
    with experiment():
        main()
