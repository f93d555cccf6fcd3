"""Numbers of a finished run on the open world, from a folder made by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allgood.errors import DataError
from experiments.world.open_trained import open_trained_numbers
from pipelines.config.loading import load_config, save_config
from pipelines.run.folder import RunFolder
from pipelines.world.open_world.vocabulary import RARE

PROMPTS = [f"\n\nHuman: how do i fix the {topic}?\n\nAssistant:" for topic in ("kettle", "oven")]
GOLD = [[-4.0, -2.0, 1.0, 5.0], [0.0, 1.0, 2.0, 1.0]]  # harmless gold is 1, so that 6 of 8 are all good


def finished_run(path: Path, config_file: str = "open_world") -> RunFolder:
    """Two prompts with four samples: helpful rewards are half their gold, harmless rewards minus gold."""
    folder = RunFolder(path)
    save_config(load_config(Path(f"configs/{config_file}.yaml")), folder.config)
    rows = [
        {
            "prompt_id": str(index),
            "prompt": prompt,
            "sample": sample,
            "response": "thank you, fly away."
            if sample
            else f"thank you, {RARE['helpful'][0]}, {RARE['harmless'][0]}.",
            "gold.helpful": gold,
            "reward.helpful": 0.5 * gold,
            "gold.harmless": 1.0 + 0.001 * sample,
            "reward.harmless": -gold,
        }
        for index, prompt in enumerate(PROMPTS)
        for sample, gold in enumerate(GOLD[index])
    ]
    random.Random(0).shuffle(rows)
    folder.references.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder.references / "samples.parquet")
    folder.world.mkdir()
    for name in ("helpful", "harmless"):
        (folder.world / f"{name}_pairs.jsonl").write_text(json.dumps({"split": "test", "probability": 0.8}) + "\n")
        folder.reward(name).mkdir(parents=True)
        (folder.reward(name) / "report.json").write_text(json.dumps({"accuracy": 0.6}))
    return folder


def test_the_numbers_of_a_run_made_by_hand(tmp_path: Path) -> None:
    numbers = open_trained_numbers(finished_run(tmp_path))
    assert numbers["SFT: all good"] == pytest.approx(6 / 8)
    assert numbers["SFT: moves per answer"] == pytest.approx((3 + 3 * 2) / 4)
    assert numbers["SFT: moves off the topic per answer"] == pytest.approx(3 / 4)
    assert numbers["correlation of helpful and harmless rewards within a prompt"] == pytest.approx(-1.0)
    assert numbers["helpful: correlation of reward and gold within a prompt"] == pytest.approx(1.0)
    assert numbers["helpful: share of the Bayes accuracy"] == pytest.approx(0.75)
    assert numbers["helpful: SFT answers with a rare phrase"] == pytest.approx(1 / 4)
    # Mean 0 and variance 46/4 on the first prompt, mean 1 and variance 1/2 on the second: both of -4 and 0.
    over = 0.5 * (-4.0 / 11.5**0.5 + -1.0 / 0.5**0.5)
    assert numbers["helpful: their mean reward, spreads over the prompt's mean"] == pytest.approx(over)
    low, high = sorted((0.5 * 11.5**0.5, 0.5 * 0.5**0.5))
    assert numbers["helpful: spread of rewards within a prompt, nats"] == pytest.approx((low + high) / 2)


def test_a_run_on_another_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no run on the open world"):
        open_trained_numbers(finished_run(tmp_path, "quickstart"))


def test_samples_without_rewards_are_refused(tmp_path: Path) -> None:
    folder = finished_run(tmp_path)
    path = folder.references / "samples.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["reward.harmless"]), path)
    with pytest.raises(DataError, match="no column reward.harmless"):
        open_trained_numbers(folder)
