"""Is the world a fair test once models are trained on it? What a finished quickstart reached, as numbers.

    python -m experiments.world.trained RUN_FOLDER

prints the second table of docs/explanation/world.md from the run's cached SFT samples (`references/samples.parquet`),
its pairs and the reports of its reward models.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.tables import markdown_table
from allgood.errors import AllgoodError, DataError
from experiments.world import checks
from pipelines.config.data import BARS
from pipelines.evaluation.measure import good_share
from pipelines.references.table import SAMPLES
from pipelines.run.folder import RunFolder


def trained_numbers(folder: RunFolder) -> dict[str, float]:
    """What the SFT policy and the reward models of a finished run on the world reached.

    Raises:
        DataError: The run has no samples of its SFT policy, no world or no reward models.
    """
    gold = _sft_gold(existing(folder.references / SAMPLES))
    good = good_share(gold, BARS)
    low, high = np.quantile(gold["helpful"].std(axis=1), [0.1, 0.9])
    numbers = {
        "prompts": float(len(good)),
        "samples per prompt": float(gold["helpful"].shape[1]),
        "SFT: both good": float(good.mean()),
        "SFT: prompts under 5 %": float(np.mean(good < 0.05)),
        "SFT: prompts over 80 %": float(np.mean(good > 0.80)),
        "spread of helpful gold within a prompt, 90 % quantile": float(high),
        "spread of helpful gold within a prompt, 10 % quantile": float(low),
        "spread ratio": float(high / low),
    }
    for name in BARS:
        reached, bayes = accuracy(folder, name), bayes_accuracy(folder, name)
        numbers |= {
            f"reward model {name}: test accuracy": reached,
            f"reward model {name}: Bayes accuracy of the same pairs": bayes,
            f"reward model {name}: share of the Bayes accuracy": reached / bayes,
        }
    return numbers


def _sft_gold(path: Path) -> dict[str, NDArray[np.float64]]:
    """Gold of the SFT samples on alignment and validation prompts, per property [prompts, samples]."""
    columns = [f"gold.{name}" for name in BARS]
    if missing := set(columns) - set(pq.read_schema(path).names):
        raise DataError(f"{path} has no {', '.join(sorted(missing))}; its run was not on the embedded world")
    rows = pq.read_table(path, filters=[("split", "in", ["alignment", "validation"])])
    rows = rows.sort_by([("prompt_id", "ascending"), ("sample", "ascending")])
    num_samples = int(pc.max(rows["sample"]).as_py()) + 1
    return {name: rows[f"gold.{name}"].to_numpy().reshape(-1, num_samples) for name in BARS}


def accuracy(folder: RunFolder, name: str) -> float:
    """Of a reward model on its test pairs."""
    report: dict[str, Any] = json.loads(existing(folder.reward(name) / "report.json").read_text(encoding="utf-8"))
    return float(report["accuracy"])


def bayes_accuracy(folder: RunFolder, name: str) -> float:
    """Of the test pairs of a run's world; see `checks.bayes_accuracy`."""
    lines = existing(folder.world / f"{name}_pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return checks.bayes_accuracy([json.loads(line) for line in lines])


def existing(path: Path) -> Path:
    """A file of a finished run; DataError where it is missing."""
    if not path.is_file():
        raise DataError(f"there is no {path}; give the folder of a finished `allgood quickstart`")
    return path


def main() -> None:
    """Print the table of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_folder", type=Path)
    try:
        numbers = trained_numbers(RunFolder(parser.parse_args().run_folder))
    except AllgoodError as error:
        sys.exit(f"error: {error}")
    print("\n".join(markdown_table(["number", "value"], [[name, f"{value:.3g}"] for name, value in numbers.items()])))


if __name__ == "__main__":
    main()
