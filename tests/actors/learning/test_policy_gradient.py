"""The formulas on values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actors.learning.policy_gradient import (
    PpoTargets,
    batch_mean_advantages,
    group_mean_advantages,
    importance_weights,
    kl_loss,
    leave_one_out_advantages,
    ppo_loss,
    ppo_targets,
    rloo_loss,
    token_kl,
)
from actors.learning.specs import Ppo


def row(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_leave_one_out_in_groups_of_unlike_size() -> None:
    # group 5: 1, 2, 6 -> 1-4, 2-3.5, 6-1.5; group 2: 10, 4 -> 6, -6
    returns = np.array([1.0, 10.0, 2.0, 6.0, 4.0])
    advantages = leave_one_out_advantages(returns, np.array([5, 2, 5, 5, 2]))
    np.testing.assert_allclose(advantages, [-3.0, 6.0, -1.5, 4.5, -6.0])


def test_a_single_response_has_no_baseline() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        leave_one_out_advantages(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]))


def test_group_mean_counts_the_response_itself_and_std_divides_by_the_groups_own() -> None:
    returns, groups = np.array([1.0, 10.0, 2.0, 6.0, 4.0]), np.array([5, 2, 5, 5, 2])
    np.testing.assert_allclose(group_mean_advantages(returns, groups, scale="none"), [-2.0, 3.0, -1.0, 3.0, -3.0])
    # std (ddof 1): sqrt(7) of 1, 2, 6 and sqrt(18) of 10, 4
    scaled = np.array([-2.0, 3.0, -1.0, 3.0, -3.0]) / np.sqrt([7.0, 18.0, 7.0, 7.0, 18.0])
    np.testing.assert_allclose(group_mean_advantages(returns, groups, scale="std"), scaled, rtol=1e-4)


def test_the_batch_mean_runs_over_all_learners() -> None:
    np.testing.assert_allclose(batch_mean_advantages(np.array([1.0, 5.0]), total=float), [-2.0, 2.0])
    # another learner holds two rows that add up to 10: the mean of all four is 4
    others = iter([2.0, 10.0])
    together = batch_mean_advantages(np.array([1.0, 5.0]), total=lambda own: own + next(others))
    np.testing.assert_allclose(together, [-3.0, 1.0])


def test_estimators_per_token_are_those_of_the_definition() -> None:
    own, reference = row(-1, -2), row(-1.5, -1)  # log ratios 0.5, -1
    np.testing.assert_allclose(token_kl(own, reference, "k1"), [0.5, -1.0])
    np.testing.assert_allclose(token_kl(own, reference, "k2"), [0.125, 0.5])
    np.testing.assert_allclose(token_kl(own, reference, "k3"), [np.exp(-0.5) - 1 + 0.5, np.e - 1 - 1])


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_a_kl_loss_adds_tokens_of_its_rows_and_nothing_at_padding(estimator: str) -> None:
    references = [row(-9), row(-1.5, -1), row(-2)]
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]], requires_grad=True)  # rows 1 and 2
    loss = kl_loss(logprobs, [1, 2], references, estimator)
    expected = token_kl(row(-1, -2), references[1], estimator).sum() + token_kl(row(-3), references[2], estimator).sum()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad[1, 1] == 0
    assert (logprobs.grad[0] != 0).all()


def test_importance_weights_are_truncated_from_above_only() -> None:
    weights = importance_weights([row(-1, -1), row(-4), row(-2)], [row(-3, -3), row(-2), row(-2)], maximum=2.0)
    np.testing.assert_allclose(weights, [2.0, np.exp(-2.0), 1.0])


def test_rloo_loss_is_not_divided_by_length() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, 0.0, 0.0]])
    loss = rloo_loss(logprobs, torch.tensor([2.0, -4.0]), torch.tensor([1.0, 0.5]))
    assert loss.item() == -(2.0 * -6.0 + 0.5 * -4.0 * -1.0)


def test_ppo_puts_kl_on_every_token_and_the_utility_on_the_last() -> None:
    targets = ppo_targets(
        start_logprobs=[row(-1, -2)],
        behaviour_logprobs=[row(-1, -2)],
        penalties=[np.array([0.5, -0.5])],
        values=[row(0, 0)],
        utilities=row(7),
        max_importance_weight=2.0,
        algorithm=Ppo(),
    )
    # rewards: -0.5, and 0.5 + 7
    np.testing.assert_allclose(targets.advantages[0], [7.0, 7.5])
    np.testing.assert_allclose(targets.returns[0], [7.0, 7.5])
    np.testing.assert_allclose(targets.weights[0], [1.0, 1.0])


def test_ppo_loss_by_hand() -> None:
    targets = PpoTargets(
        start_logprobs=(row(0), row(0, 0, 0)),
        start_values=(row(0), row(0, 0, 0)),
        advantages=(row(0), row(1, 1, -2)),
        returns=(row(0), row(1, 1, 1)),
        weights=(row(1), row(1, 1, 0.5)),
    )
    logprobs = torch.tensor([[0.0, np.log(1.5), np.log(1.5)], [0.0, 5.0, 5.0]], dtype=torch.float32)
    values = torch.tensor([[0.5, 0.1, 3.0], [0.0, 99.0, 99.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    loss = ppo_loss(logprobs, values, mask, [1, 0], targets, Ppo(clip=0.2, value_clip=0.2, value_coefficient=0.5))
    # ratios 1, 1.5 (clipped to 1.2, advantage above 0), 1.5 (not clipped: advantage below 0, weight 0.5)
    assert loss.policy.item() == pytest.approx(-(1.0 + 1.2 + 0.5 * -3.0))
    assert loss.num_clipped.item() == 1
    # max of plain and clipped squared errors: (0.5 -> 0.2: 0.64), (0.1: 0.81), (3 -> 0.2: 4.0)
    assert loss.value.item() == pytest.approx(0.5 * (0.64 + 0.81 + 4.0))
    assert loss.total.item() == pytest.approx(loss.policy.item() + 0.5 * loss.value.item())
