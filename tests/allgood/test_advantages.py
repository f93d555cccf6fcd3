import math

import pytest
import torch

from allgood import advantages


def test_rloo_by_hand():
    # 1 - (2 + 6)/2, 2 - (1 + 6)/2, 6 - (1 + 2)/2
    assert advantages.rloo(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-3.0, -1.5, 4.5]]


def test_group_mean_by_hand():
    assert advantages.group_mean(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-2.0, -1.0, 3.0]]


@pytest.mark.parametrize("advantage", [advantages.rloo, advantages.group_mean])
def test_groups_by_id_agree_with_rows_of_prompts(advantage):
    returns = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([7, 2, -1]).repeat_interleave(5)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    found = advantage(returns.reshape(-1)[order], groups[order])
    torch.testing.assert_close(found, advantage(returns).reshape(-1)[order])


def test_a_dropped_sample_leaves_its_group_and_the_baseline_is_computed_again():
    found = advantages.rloo(torch.tensor([1.0, 2.0, 6.0, 5.0, 7.0]), torch.tensor([0, 0, 0, 1, 1]))
    assert found.tolist() == [-3.0, -1.5, 4.5, -2.0, 2.0]
    without = advantages.rloo(torch.tensor([1.0, 6.0, 5.0, 7.0]), torch.tensor([0, 0, 1, 1]))
    assert without.tolist() == [-5.0, 5.0, -2.0, 2.0]


@pytest.mark.parametrize("advantage", [advantages.rloo, advantages.group_mean])
def test_groups_without_a_baseline_and_bad_returns_are_refused(advantage):
    with pytest.raises(ValueError, match="at least 2 samples per prompt, got 1"):
        advantage(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="groups must have at least 2 rows each, but group 4 has 1"):
        advantage(torch.zeros(3), torch.tensor([5, 5, 4]))
    with pytest.raises(ValueError, match="returns must be a non-empty tensor"):
        advantage(torch.zeros(3))
    with pytest.raises(ValueError, match="returns must be a non-empty tensor"):
        advantage(torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="returns and groups must have the same shape"):
        advantage(torch.zeros(3), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="groups must be integer ids"):
        advantage(torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match="returns must be finite"):
        advantage(torch.tensor([[0.0, math.nan]]))
    with pytest.raises(ValueError, match="returns must be finite"):
        advantage(torch.tensor([0.0, math.inf]), torch.tensor([0, 0]))


def test_gae_by_hand():
    rewards, values = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 1.0, 1.5]])
    # deltas: 1 + .9*1 - .5 = 1.4; 0 + .9*1.5 - 1 = .35; 2 - 1.5 = .5; decay .45
    found = advantages.gae(rewards, values, discount=0.9, gae_lambda=0.5)
    assert found[0].tolist() == pytest.approx([1.4 + 0.45 * (0.35 + 0.45 * 0.5), 0.35 + 0.45 * 0.5, 0.5])


def test_gae_with_lambda_1_is_the_return_minus_the_value():
    rewards, values = torch.tensor([[1.0, -2.0, 4.0]]), torch.tensor([[0.5, 1.0, 1.5]])
    assert advantages.gae(rewards, values).tolist() == [[3.0 - 0.5, 2.0 - 1.0, 4.0 - 1.5]]


def test_masked_tokens_are_as_if_deleted_whatever_stands_there():
    rewards = torch.tensor([[1.0, 2.0, math.nan], [3.0, -1.0, 2.0]])
    values = torch.tensor([[0.5, 0.25, math.inf], [0.0, 1.0, 2.0]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    found = advantages.gae(rewards, values, mask, discount=0.9, gae_lambda=0.8)
    short = advantages.gae(rewards[:1, :2], values[:1, :2], discount=0.9, gae_lambda=0.8)
    torch.testing.assert_close(found[:1, :2], short)
    assert found[0, 2] == 0
    torch.testing.assert_close(found[1:], advantages.gae(rewards[1:], values[1:], discount=0.9, gae_lambda=0.8))


def test_bad_input_of_gae_is_refused():
    z = torch.zeros(2, 3)
    for call, message in [
        (lambda: advantages.gae(z, torch.zeros(2, 4)), "rewards and values must have the same shape"),
        (lambda: advantages.gae(z[0], z[0]), "rewards must be a non-empty tensor"),
        (lambda: advantages.gae(z, z, torch.ones(2, 4)), "rewards and mask must have the same shape"),
        (lambda: advantages.gae(z, z, torch.tensor([[0, 1, 1], [1, 1, 1]])), "padding stands on the right"),
        (lambda: advantages.gae(z, z, discount=1.1), r"discount must lie in \[0, 1\], got 1.1"),
        (lambda: advantages.gae(z + math.nan, z), "rewards must be finite"),
        (lambda: advantages.gae(z, z + math.inf), "values must be finite"),
        (lambda: advantages.gae(z, z, gae_lambda=-1), r"gae_lambda must lie in \[0, 1\], got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
