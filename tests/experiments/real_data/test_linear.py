"""Linear heads score answers as they were taught, once, and what they were made from is checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from allgood.errors import DataError
from experiments.real_data.linear import linear_rewards
from pipelines.answers.reading import Answered
from pipelines.config.run import RunConfig
from tests.actors import tiny_models
from tests.pipelines.tiny_training import pair_rows, reward_training, tiny_run

PROMPT = pair_rows()[0]["chosen"].split("Assistant:")[0] + "Assistant:"
RESPONSES = ("yes indeed", "no never", "yes indeed now", "no never now", "yes " * 600)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Pairs whose better answer says "yes indeed"."""
    folder = tmp_path_factory.mktemp("linear")
    train = reward_training(backbone=tiny_models.save_scorer(folder / "encoder"), max_tokens=128)
    return tiny_run(folder, properties={"helpful": {"kind": "model", "train": train}})


def answers(*responses: str) -> list[Answered]:
    return [Answered(PROMPT, responses, ({},) * len(responses), ("here",) * len(responses), "test")]


def test_a_head_prefers_what_its_pairs_prefer_and_leaves_out_what_is_too_long(
    config: RunConfig, tmp_path: Path
) -> None:
    found = linear_rewards(config, answers(*RESPONSES), tmp_path)["helpful"]
    yes, no, yes_now, no_now, too_long = found["rewards"]
    assert min(yes, yes_now) > max(no, no_now)
    assert too_long is None
    assert found["report"]["accuracy"] > 0.9


def test_what_was_scored_is_kept_and_other_answers_are_refused(config: RunConfig, tmp_path: Path) -> None:
    first = linear_rewards(config, answers(*RESPONSES[:2]), tmp_path)
    stored = (tmp_path / "helpful.json").stat().st_mtime_ns
    again = linear_rewards(config, answers(*RESPONSES[:2]), tmp_path)
    np.testing.assert_array_equal(first["helpful"]["rewards"], again["helpful"]["rewards"])
    assert (tmp_path / "helpful.json").stat().st_mtime_ns == stored
    with pytest.raises(DataError, match=r"helpful\.json is of other pairs, settings or answers"):
        linear_rewards(config, answers(*RESPONSES[:3]), tmp_path)
