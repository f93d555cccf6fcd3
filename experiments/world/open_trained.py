"""Is the open world a fair test once models are trained on it? What SFT and reward models of a run reached, as numbers.

    python -m experiments.world.open_trained RUN_FOLDER

prints a column of the last table of docs/explanation/open_world.md, from the run's cached SFT samples
(`references/samples.parquet`), its pairs and the reports of its reward models.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.tables import markdown_table
from allgood.errors import AllgoodError, DataError
from experiments.world.trained import accuracy, bayes_accuracy, existing
from pipelines.config.loading import load_config
from pipelines.config.open_world import OpenWorldConfig
from pipelines.objective.gold import over_every_bar
from pipelines.references.table import SAMPLES
from pipelines.run.folder import RunFolder
from pipelines.world.open_world.answers import read
from pipelines.world.open_world.gold import asked
from pipelines.world.open_world.vocabulary import RARE

Grid = NDArray[np.float64]


def open_trained_numbers(folder: RunFolder) -> dict[str, float]:
    """What the SFT policy and the reward models of a run on the open world reached.

    Raises:
        DataError: The run was not on the open world, or has no samples or no reward models yet.
    """
    world = load_config(existing(folder.config)).world
    if not isinstance(world, OpenWorldConfig):
        raise DataError(f"{folder.path} is no run on the open world")
    table = pq.read_table(existing(folder.references / SAMPLES))
    rows = table.sort_by([("prompt_id", "ascending"), ("sample", "ascending")]).to_pydict()
    gold: dict[str, Grid] = {name: _by_prompt(rows, f"gold.{name}") for name in world.properties}
    rewards = {name: _by_prompt(rows, f"reward.{name}") for name in world.properties}
    moves = [read(response) for response in rows["response"]]
    known = [asked(prompt, world).topic.own for prompt in rows["prompt"]]
    off_topic = [sum(move not in own for move in set(one)) for one, own in zip(moves, known, strict=True)]
    first, second = world.properties[:2]
    return {
        "SFT: all good": float(over_every_bar(gold, world.bars).mean()),
        "SFT: moves per answer": float(np.mean([len(one) for one in moves])),
        "SFT: moves off the topic per answer": float(np.mean(off_topic)),
        f"correlation of {first} and {second} rewards within a prompt": _correlation(rewards[first], rewards[second]),
    } | {
        key: value
        for name in world.properties
        for key, value in _of_property(folder, name, gold[name], rewards[name], _rare(moves, name)).items()
    }


def _of_property(folder: RunFolder, name: str, gold: Grid, rewards: Grid, rare: NDArray[np.bool_]) -> dict[str, float]:
    spreads = rewards.std(axis=1)
    low, middle, high = np.quantile(spreads, [0.1, 0.5, 0.9])
    standard = ((rewards - rewards.mean(axis=1, keepdims=True)) / spreads[:, None]).reshape(-1)
    reached, best = accuracy(folder, name), bayes_accuracy(folder, name)
    return {
        f"{name}: test accuracy": reached,
        f"{name}: share of the Bayes accuracy": reached / best,
        f"{name}: spread of rewards within a prompt, nats": float(middle),
        f"{name}: the same, 90 % / 10 % quantile": float(high / low),
        f"{name}: correlation of reward and gold within a prompt": _correlation(rewards, gold),
        f"{name}: SFT answers with a rare phrase": float(rare.mean()),
        f"{name}: their mean reward, spreads over the prompt's mean": float(standard[rare].mean()),
    }


def _by_prompt(rows: Mapping[str, list[float]], column: str) -> Grid:
    """A column, [prompts, samples]."""
    if column not in rows:
        raise DataError(f"the samples have no column {column}; run `allgood reference` anew")
    return np.array(rows[column], dtype=np.float64).reshape(len(set(rows["prompt_id"])), -1)


def _rare(moves: list[tuple[str, ...]], judged: str) -> NDArray[np.bool_]:
    return np.array([not set(one).isdisjoint(RARE[judged]) for one in moves])


def _correlation(first: Grid, second: Grid) -> float:
    """Mean over prompts of the correlation over samples."""
    return float(np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(first, second, strict=True)]))


def main() -> None:
    """Print the numbers of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_folder", type=Path)
    try:
        numbers = open_trained_numbers(RunFolder(parser.parse_args().run_folder))
    except AllgoodError as error:
        sys.exit(f"error: {error}")
    print("\n".join(markdown_table(["number", "value"], [[name, f"{value:.3g}"] for name, value in numbers.items()])))


if __name__ == "__main__":
    main()
