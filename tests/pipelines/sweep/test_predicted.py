"""Predicted win rates: a response never competes with itself, and tilting cannot lose to what it tilts."""

from __future__ import annotations

import torch

from allgood.tilting import tilt
from pipelines.sweep.predicted import chance_to_win


def test_a_sample_meets_all_the_others_of_its_prompt() -> None:
    # 1 loses to 2 and 3; 2 beats 1, ties 2, loses to 3; 3 beats all three.
    scores = torch.tensor([[1.0, 2.0, 2.0, 3.0]])
    assert torch.allclose(chance_to_win(scores), torch.tensor([[0.0, 1.5 / 3, 1.5 / 3, 1.0]], dtype=torch.float64))


def test_untilted_samples_win_one_half() -> None:
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(chance_to_win(scores).mean(-1), torch.full((5,), 0.5, dtype=torch.float64))


def test_tilting_towards_a_score_wins_on_it() -> None:
    scores = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)).double()
    assert float(tilt(scores, 0.5).expect(chance_to_win(scores)).mean()) > 0.8
