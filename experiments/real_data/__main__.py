"""Real reward models on the map: train them, score judged answers, measure, calculate, write the page.

python -m experiments.real_data --data FOLDER [--public FOLDER] [--encoder FOLDER] [--folder runs/real_data]
python -m experiments.real_data --only-write

--data holds helpful_candidates.jsonl.gz, helpful_pairs.jsonl.gz and harmless_pairs.jsonl.gz; --public holds clones of
the two repositories that experiments/real_data/public_scores.py names. Aggregates are stored in
docs/results/data/real_data; what is trained or scored already is kept. `python -m experiments.map --only-write` then
puts the marks on the map.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from allgood.errors import DataError
from experiments.real_data.material import make_material
from experiments.real_data.measured import FIRST_LOOK, NAMED, judge_numbers, model_numbers, prediction
from experiments.real_data.models import judged_answers
from experiments.real_data.page import write_page
from experiments.real_data.public_scores import public_coordinates
from experiments.script import experiment
from pipelines.output.files import write_json
from pipelines.output.progress import say
from pipelines.output.stamp import stamped

RESULTS = Path("docs/results")
STORED = RESULTS / "data" / "real_data"
PARTS = ("judged", "public", "named")
SEED = 0


def main() -> None:
    """Measure what data are given for, then write docs/results/real_reward_models.md from what is stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the three data files")
    parser.add_argument("--public", type=Path, help="folder of clones of two public repositories")
    parser.add_argument("--encoder", help="backbone of the reward models; absent: the installed package")
    parser.add_argument("--folder", type=Path, default=Path("runs/real_data"))
    parser.add_argument("--only-write", action="store_true", help="draw the page from the stored numbers")
    arguments = parser.parse_args()
    if not arguments.only_write:
        if arguments.data is None and arguments.public is None:
            parser.error("give --data or --public, or --only-write")
        if arguments.data is not None:
            _measure(arguments.data, arguments.folder, arguments.encoder)
        if arguments.public is not None:
            write_json(_stored("public"), stamped(public_coordinates(arguments.public, seed=SEED)))
        points = {**FIRST_LOOK, **NAMED}
        write_json(_stored("named"), stamped({name: prediction(point) for name, point in points.items()}))
    missing = [str(_stored(part)) for part in PARTS if not _stored(part).is_file()]
    if missing:
        raise DataError(f"{', '.join(missing)} missing; run this with --data and --public first")
    write_page({part: json.loads(_stored(part).read_text(encoding="utf-8")) for part in PARTS}, RESULTS)
    say(f"results: {RESULTS / 'real_reward_models.md'}")


def _measure(data: Path, folder: Path, encoder: str | None) -> None:
    make_material(data, folder, seed=SEED)
    found = judged_answers(folder, encoder)
    models = {name: model_numbers(found, kind, seed=SEED) for name, kind in found.models.items()}
    write_json(_stored("judged"), stamped({"judge": judge_numbers(found, seed=SEED), "models": models}))


def _stored(part: str) -> Path:
    return STORED / f"{part}.json"


if __name__ == "__main__":
    with experiment():
        main()
