"""Each guard with the damage that it prevents."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allgood import advantages, aggregation, guards, losses, transforms
from allgood.formula import Formula
from tests.oracles import enumerable_policy as enumerable
from tests.oracles.kl_gradients import sequence_k2_as_loss

# Four responses: the last is the only one that is good in both properties.
GROUP = {"a": torch.tensor([[7.0, 6.0, 5.0, 4.0]]), "b": torch.tensor([[-3.0, -1.0, 0.5, 2.0]])}
UTILITIES = {name: transforms.log_sigmoid(margins, 0.0) for name, margins in GROUP.items()}


def test_damage_normalise_then_sum_pushes_the_only_good_response_down():
    right = advantages.group_mean(Formula("a & b").log_prob(GROUP))
    assert right[0].tolist() == pytest.approx([-1.80, -0.07, 0.77, 1.10], abs=0.005)
    summed = aggregation.normalise_then_sum(UTILITIES)
    wrong = (summed - summed.mean()) / summed.std()  # GDPO whitens the batch at the end
    assert wrong[0].tolist() == pytest.approx([-0.90, 0.79, 0.94, -0.82], abs=0.01)
    assert right.argmax() == 3
    assert wrong.argmax() != 3


def test_damage_group_std_makes_a_solved_prompt_as_loud_as_an_unsolved_one():
    rewards = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    utilities = transforms.log_sigmoid(rewards, torch.tensor([12.0, -12.0]))  # far from good, and certainly good
    right = advantages.group_mean(utilities).norm(dim=1)
    assert right[1] < 1e-4 * right[0]
    wrong = right / utilities.std(1)
    assert wrong[1] == pytest.approx(wrong[0].item(), rel=1e-3)


def test_damage_a_division_beside_the_kl_changes_gamma():
    task, policy = enumerable.problem(gamma=0.5), enumerable.random_logits(7)
    weights = enumerable.expected(policy)
    spread = float((weights * (task.utilities - (weights * task.utilities).mean()).square()).mean().sqrt())

    def direction(divisor):
        """Of a loss with the KL alongside the utility, whose gradient is exact without a division."""

        def loss(logits):
            returns, logprobs = task.utilities / divisor, enumerable.token_logprobs(logits)
            gain = losses.reinforce(logprobs, returns, enumerable.MASK, weights=weights)
            return gain + task.gamma * sequence_k2_as_loss(logits, task.reference_logits)

        return enumerable.descent_direction(loss, policy)

    exact, divided = task.gradient(policy), spread * direction(spread)
    assert enumerable.relative_error(direction(1.0), exact) < 1e-12
    assert enumerable.relative_error(divided, exact) > 0.1
    other = dataclasses.replace(task, gamma=task.gamma * spread)  # what is optimised instead
    assert enumerable.relative_error(divided, other.gradient(policy)) < 1e-12


@pytest.mark.parametrize("scale", ["group_std", "normalise_then_sum"])
@pytest.mark.parametrize(
    "transform", ["log_sigmoid", "log_prob", "log_mean_sigmoid", "log_calibrated", "power", "mine:f"]
)
def test_group_std_of_log_utilities_is_refused(scale, transform):
    with pytest.raises(ValueError, match=f"scale '{scale}' erases what the transform {transform} expresses"):
        guards.refuse_group_std(scale, ["identity", transform], kl_in_reward=True)


def test_harmless_scales_pass_and_a_kl_outside_is_refused():
    guards.refuse_group_std("none", ["log_sigmoid"], kl_in_reward=False)
    guards.refuse_group_std("batch_std", ["log_sigmoid"], kl_in_reward=True)
    guards.refuse_group_std("group_std", ["identity"], kl_in_reward=True)
    for scale in ("batch_std", "group_std", "normalise_then_sum"):
        with pytest.raises(ValueError, match="gamma silently changes"):
            guards.refuse_group_std(scale, ["identity"], kl_in_reward=False)


def test_damage_a_second_sigmoid_leaves_no_difference_between_good_and_bad():
    logits = torch.tensor([-4.0, 4.0])
    right = transforms.log_sigmoid(logits, 0.0).diff().item()
    wrong = transforms.log_sigmoid(torch.sigmoid(logits), 0.0).diff().item()
    assert right > 3.9
    assert wrong < 0.4


def test_squashed_rewards_are_refused():
    logits = torch.randn(64, generator=torch.Generator().manual_seed(0))
    squashed = torch.sigmoid(logits)
    squashed[0] = math.nan
    for transform in ("log_sigmoid", "sigmoid"):
        guards.refuse_squashed_rewards(logits, transform=transform)
        guards.refuse_squashed_rewards(squashed[:20], transform=transform)  # too few to tell
        with pytest.raises(ValueError, match=r"rewards all lie in \[0, 1\] \(63 of them"):
            guards.refuse_squashed_rewards(squashed, transform=transform)
    for transform in ("identity", "calibrated", "log_calibrated", "z_score", "mine:f"):
        guards.refuse_squashed_rewards(squashed, transform=transform)  # these apply no sigmoid
    guards.refuse_squashed_rewards(squashed.log(), transform="log_prob")
    with pytest.raises(ValueError, match="must be log-probabilities, at most 0"):
        guards.refuse_squashed_rewards(squashed, transform="log_prob")


def test_damage_a_failed_score_turned_into_0_wins():
    # The third response is bad in b, and its a could not be scored.
    utilities = {"a": torch.tensor([-2.0, -0.1, math.nan, -3.0]), "b": torch.tensor([-1.0, -0.9, -0.5, -0.2])}
    groups = torch.zeros(4, dtype=torch.int64)
    wrong = advantages.rloo(sum(values.nan_to_num(0.0) for values in utilities.values()), groups)
    assert wrong.argmax() == 2
    summed = sum(utilities.values())
    kept = guards.kept_rows(summed.numpy(), groups.numpy())
    right = advantages.rloo(summed[kept], groups[kept])
    assert right.tolist() == pytest.approx([-0.9, 2.1, -1.2])  # of the returns -3, -1, -3.2


def test_rewards_that_are_often_exactly_0_are_refused():
    rewards = torch.randn(200, generator=torch.Generator().manual_seed(0))
    guards.refuse_default_rewards(rewards)
    rewards[0] = 0.0
    guards.refuse_default_rewards(rewards)  # a single one may be
    rewards[:5] = 0.0
    with pytest.raises(ValueError, match="exactly 0 for 5 of 200 responses"):
        guards.refuse_default_rewards(rewards)
    guards.refuse_default_rewards(rewards, max_share=0.05)
    with pytest.raises(ValueError, match=r"max_share must lie in \[0, 1\]"):
        guards.refuse_default_rewards(rewards, max_share=2)


def test_a_row_without_a_score_leaves_its_group_and_a_group_of_one_is_dropped():
    utilities = np.float32([0, np.nan, 1, np.nan, np.nan, 2, 3, 4, 5, np.inf, 6])
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3])
    assert guards.kept_rows(utilities, groups).tolist() == [0, 2, 6, 7, 8]
    assert guards.kept_rows(np.empty(0), np.empty(0, dtype=np.int64)).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([np.nan, 0.0, 1.0])), max_size=20))
def test_kept_rows_are_scored_and_never_alone_in_their_group(rows):
    groups, utilities = np.array([row[0] for row in rows], dtype=int), np.array([row[1] for row in rows])
    kept = guards.kept_rows(utilities, groups)
    assert np.isfinite(utilities[kept]).all()
    for group in range(5):
        scored = np.flatnonzero((groups == group) & np.isfinite(utilities))
        assert np.isin(scored, kept).all() if len(scored) >= 2 else not np.isin(scored, kept).any()


def test_utilities_that_do_not_fit_their_groups_are_refused():
    with pytest.raises(ValueError, match=r"must both be \[rows\], got shapes \(3,\) and \(2,\)"):
        guards.kept_rows(np.zeros(3), np.zeros(2, dtype=int))


def test_damage_the_reference_of_another_model_freezes_the_policy():
    # Two reward models that agree on every comparison, one with all rewards 20 higher: Bradley-Terry cannot tell.
    rewards = torch.tensor([[0.0, 1.0, 2.0]])
    right = transforms.log_sigmoid(rewards + 20, torch.tensor([21.0]))
    wrong = transforms.log_sigmoid(rewards + 20, torch.tensor([1.0]))
    assert (right.max() - right.min()).item() > 0.9
    assert (wrong.max() - wrong.min()).item() < 1e-8


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="scale must be none, batch_std, group_std or normalise_then_sum, got 'std'"):
        guards.refuse_group_std("std", [], kl_in_reward=True)
