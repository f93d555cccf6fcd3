from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from actors.learner import Learner
from actors.learning.optimizer import adamw, learning_rate_at
from actors.learning.specs import ArmSpec, OptimizerSpec, Rloo
from tests.actors import tiny_models
from tests.actors.batches import ragged_batch
from tests.actors.specs import learner_spec


def test_learning_rate_by_hand() -> None:
    linear = OptimizerSpec(learning_rate=1.0, warmup_steps=2, schedule="linear")
    # Warm-up 1/3, 2/3, then 1 at step 2, falling by 1/4 per step to reach 0 after step 5.
    rates = [learning_rate_at(linear, step=step, total_steps=6) for step in range(7)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, 0.75, 0.5, 0.25, 0.0])
    cosine = replace(linear, schedule="cosine")
    assert learning_rate_at(cosine, step=4, total_steps=6) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    constant = replace(linear, schedule="constant")
    assert learning_rate_at(constant, step=100, total_steps=6) == 1.0


def test_a_warmup_longer_than_the_training_still_rises() -> None:
    spec = OptimizerSpec(learning_rate=1.0, warmup_steps=9)
    assert [learning_rate_at(spec, step=step, total_steps=3) for step in range(3)] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("fused", [True, False])
def test_biases_and_norms_do_not_decay(*, fused: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    groups = adamw(model.parameters(), OptimizerSpec(weight_decay=0.5), fused=fused).param_groups
    decays = {tuple(p.shape): group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {(2, 3): 0.5, (2,): 0.0}


def test_an_alignment_warms_up_and_decays_as_a_training_does(tmp_path: Path) -> None:
    spec = OptimizerSpec(learning_rate=1e-3, weight_decay=1e3, warmup_steps=3, schedule="constant")
    learner = Learner(learner_spec(tiny_models.save_policy(tmp_path)))
    learner.start(ArmSpec(spec, Rloo(), total_steps=8, seed=0))
    before = {name: array.copy() for name, array in learner.weights().arrays.items()}
    rate = learner.update(ragged_batch(tiny_models.policy())).metrics["learning_rate"]
    assert rate == pytest.approx(1e-3 / 4)
    after = learner.weights().arrays
    # Adam moves a weight by at most the rate; the decay takes rate * 1e3 = a quarter of it, where there is one.
    for name, array in before.items():
        kept = 0.75 if array.ndim > 1 else 1.0
        assert abs(after[name] - kept * array).max() < 1.1 * rate, name
