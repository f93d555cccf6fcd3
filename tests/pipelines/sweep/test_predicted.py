"""Predicted win rates: an opponent has no part in the weights that it meets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from allgood.errors import DataError
from pipelines.sweep.predicted import Contest, Predicted, predicted, predictions
from pipelines.sweep.results import Setting
from tests.pipelines.sweep.tiny_sweep import tiny_base
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base

NORMAL = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)).double()


def test_an_opponent_has_no_part_in_the_weights_that_it_meets() -> None:
    # Of two samples the one that does not play the opponent is the whole policy, whatever it weighs: one win, one loss.
    found = predicted(torch.tensor([[0.0, 3.0]]).double(), 1.0, Contest.of({"a": torch.tensor([[0.0, 1.0]])}))
    assert found.win_rate == pytest.approx(0.5)


def test_untilted_samples_win_one_half_of_every_property() -> None:
    contest = Contest.of({"a": NORMAL, "b": NORMAL.flip(-1)})
    assert predicted(torch.zeros_like(NORMAL), 1.0, contest).win_rate == pytest.approx(0.5)


def test_tilting_towards_one_of_two_opposed_properties_wins_as_much_as_it_loses() -> None:
    assert predicted(NORMAL, 0.5, Contest.of({"a": NORMAL})).win_rate > 0.8
    assert predicted(NORMAL, 0.5, Contest.of({"a": NORMAL, "b": -NORMAL})).win_rate == pytest.approx(0.5)


def test_prompts_with_a_missing_score_or_utility_are_left_out() -> None:
    scores, utilities = NORMAL.clone(), NORMAL.clone()
    scores[0, 3], utilities[1, 2] = torch.nan, torch.nan
    found = predicted(utilities, 0.5, Contest.of({"a": scores}))
    assert (found.num_prompts, found.num_samples) == (3, 64)
    expected = predicted(NORMAL[2:], 0.5, Contest.of({"a": NORMAL[2:]}))
    assert found.win_rate == pytest.approx(expected.win_rate)


def test_without_a_prompt_that_has_every_score_there_is_a_reason_and_no_point() -> None:
    missing = NORMAL.where(torch.arange(64) > 0, torch.nan)  # one sample of every prompt
    with pytest.raises(DataError, match="whoever judges could not score"):
        Contest.of({"a": missing})
    with pytest.raises(DataError, match="without a utility"):
        predicted(missing, 0.5, Contest.of({"a": NORMAL}))


def test_a_setting_whose_training_does_not_aim_at_the_tilt_has_a_reason_and_no_point(tmp_path: Path) -> None:
    make_base(tmp_path)
    base = tiny_base(tmp_path)
    write_references(base)
    changes: dict[str, dict[str, Any]] = {
        "plain": {"kl.coefficient": 0.5},
        "moved": {"kl.controller": {"kind": "target", "target": 4.0}},
        "inexact": {"kl.estimator": "k3"},
        "learned": {"objective": {"kind": "lagrangian", "maximise": "short", "thresholds": {"vowels": 0.5}}},
    }
    settings = [Setting(name, {}, change, (), {}, {}) for name, change in changes.items()]
    found = predictions(base, settings, "gold")
    assert isinstance(found["plain"], Predicted)
    assert "moves kl.coefficient" in str(found["moved"])
    assert "k1 in the reward is exact" in str(found["inexact"])
    assert "learns its multipliers" in str(found["learned"])
