"""Choices on validation prompts: which parameter, which rival."""

from __future__ import annotations

import pytest
import torch

from experiments.open_world.design import CAPPED, OTHERS, PAR, PRIMARY_KLS, RAW, RIVALS, TUNED, PlannedArm
from experiments.open_world.predictions import Choice, best_of, coordinates
from pipelines.references.cached_samples import CachedSamples


def choices(rates: dict[str, tuple[float | None, float | None]]) -> dict[PlannedArm, Choice]:
    """Rates at 2 and 4 nats."""
    return {
        PlannedArm(name, kl): Choice(None, rate)
        for name, of_name in rates.items()
        for kl, rate in zip(PRIMARY_KLS, of_name, strict=True)
    }


def test_the_rival_is_the_best_at_the_target_and_of_equals_the_first() -> None:
    found = choices({RAW: (0.3, 0.4), TUNED: (0.3, 0.5), CAPPED: (0.2, None)})
    assert best_of(RIVALS, (2.0,), found) == RAW
    assert best_of(RIVALS, (4.0,), found) == TUNED


def test_what_samples_cannot_show_is_never_the_best() -> None:
    found = choices(dict.fromkeys(OTHERS, (0.9, None)) | {PAR: (0.1, 0.1)})
    assert best_of(OTHERS, PRIMARY_KLS, found) == PAR


def test_coordinates_by_hand() -> None:
    # within prompts gold is 0 2 and 0 4 (deviations 1 and 2); rewards are half of helpful gold, harmless rewards oppose
    gold = torch.tensor([[0.0, 2.0], [0.0, 4.0]], dtype=torch.float64)
    rewards = {"helpful": gold / 2, "harmless": -gold}
    ones = torch.ones(2, 2)
    cached = CachedSamples(
        split="test",
        prompt_ids=("a", "b"),
        prompts=("a", "b"),
        responses=(("x", "y"), ("x", "y")),
        finish_reasons=(("stop", "stop"), ("stop", "stop")),
        num_tokens=ones.long(),
        was_cut=ones.bool(),
        rewards=rewards,
        gold={"helpful": gold, "harmless": gold},
        evaluators={},
    )
    found = coordinates(cached)
    root = 2**0.5  # standard deviation of 0 and 2, ddof 1
    assert found["spread"]["helpful"] == pytest.approx([0.75 * root, 0.55 * root, 0.95 * root])
    assert found["gold_spread"]["harmless"] == pytest.approx(root)  # the lower of two medians
    assert found["reward_gold"] == {"helpful": pytest.approx(1.0), "harmless": pytest.approx(-1.0)}
    assert found["rewards"] == {"helpful~harmless": pytest.approx(-1.0)}
    assert found["gold"] == {"helpful~harmless": pytest.approx(1.0)}
