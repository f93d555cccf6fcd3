"""`make study`: raw sum against LSC sum at matched KL, over seeds, shortcuts on and off. Worlds that are done are kept.

python -m pipelines.study [--seeds 5] [--folder runs/study] [--only-write]

Numbers are stored in docs/results/data/study, from which the page and its figures are drawn.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

from pipelines.config.loading import load_config
from pipelines.files import write_json
from pipelines.progress import say
from pipelines.runtime import ray_session
from pipelines.study.design import results_path
from pipelines.study.worlds import run_world, without_details, world_config
from pipelines.study.write import write_results

RESULTS = Path("docs/results")
STORED = RESULTS / "data" / "study"
SIDE_BY_SIDE = 2  # worlds at the same time, one thread each
SETTINGS = (  # what differs from quickstart
    "align.steps=80",
    "align.optimizer.schedule=linear",  # ends at 0, so that utility and KL are flat at the end
    "align.evaluate_every=20",  # the last two evaluations bound the last quarter: the page shows what changed in it
    "align.checkpoint_every=80",
    "references.num_samples=64",
    "evaluate.sft_samples_per_prompt=16",  # opponents, and the bars of evaluator 2
    "tracking.wandb=disabled",
)


def main() -> None:
    """Run what is missing, then write docs/results/quickstart_study.md from all results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs/study"))
    parser.add_argument("--only-write", action="store_true", help="draw the page from the stored numbers")
    arguments = parser.parse_args()
    if not arguments.only_write:
        _run(arguments.folder, arguments.seeds)
        _store(arguments.folder)
    write_results([_read(path) for path in sorted(STORED.glob("*.json"))], RESULTS)


def _store(folder: Path) -> None:
    """Keep what pages show: each policy's headline numbers and its improvement per prompt."""
    for path in folder.glob("seed_*_o*.json"):
        write_json(STORED / path.name, without_details(_read(path)))


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _run(folder: Path, num_seeds: int) -> None:
    config = load_config(Path("configs/quickstart.yaml"), [f"output_dir={folder.absolute()}", *SETTINGS])
    # Worlds without shortcuts first: their held-out models also judge the worlds with them.
    worlds = [(seed, on) for on, seed in product((False, True), range(num_seeds))]
    missing = [(seed, on) for seed, on in worlds if not results_path(folder, seed, on).is_file()]
    say(f"{len(missing)} of {len(worlds)} worlds to run")

    def run(world: tuple[int, bool]) -> None:
        seed, on = world
        clean = world_config(config, seed=seed, shortcuts=False)
        try:
            run_world(world_config(config, seed=seed, shortcuts=on), clean, results_path(folder, seed, on))
        except Exception as error:  # told now, not when all the others are done
            say(f"seed {seed}, shortcuts {'on' if on else 'off'}: failed ({error})")
            raise

    with ray_session(), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(run, missing))


if __name__ == "__main__":
    main()
