import math

import pytest
import torch

from allgood import losses

MASK = torch.tensor([[True, True, True], [True, False, False]])


def tensor(seed: int) -> torch.Tensor:
    return -torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_reinforce_by_hand_is_a_mean_over_responses_never_over_tokens():
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-4.0, 0.0, 0.0]])
    # -(2 * -6 + -1 * -4) / 2
    assert losses.reinforce(logprobs, torch.tensor([2.0, -1.0]), MASK).item() == 4.0
    weights = torch.tensor([0.5, 2.0])
    assert losses.reinforce(logprobs, torch.tensor([2.0, -1.0]), MASK, weights=weights).item() == -(-6.0 + 8.0) / 2
    per_token = torch.tensor([[1.0, 0.0, 2.0], [-1.0, 9.0, 9.0]])
    assert losses.reinforce(logprobs, per_token, MASK).item() == -(-1.0 - 6.0 + 4.0) / 2


def test_ppo_clip_by_hand():
    old = torch.zeros(1, 4)
    logprobs = torch.log(torch.tensor([[1.5, 1.5, 0.5, 0.5]]))
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    # min(1.5, 1.2), min(-1.5, -1.2), min(0.5, 0.8), min(-0.5, -0.8)
    assert losses.ppo_clip(logprobs, old, advantages).item() == pytest.approx(-(1.2 - 1.5 + 0.5 - 0.8))
    assert losses.clip_fraction(logprobs, old, advantages).item() == 0.5
    doubled = losses.ppo_clip(logprobs, old, advantages, weights=torch.tensor([2.0]))
    assert doubled.item() == pytest.approx(-2 * (1.2 - 1.5 + 0.5 - 0.8))


def test_ppo_cuts_the_gradient_exactly_where_clipping_takes_over():
    logprobs = torch.log(torch.tensor([[1.5, 1.5, 0.5, 0.5]])).requires_grad_()
    losses.ppo_clip(logprobs, torch.zeros(1, 4), torch.tensor([[1.0, -1.0, 1.0, -1.0]])).backward()
    assert logprobs.grad[0].tolist() == pytest.approx([0.0, 1.5, -0.5, 0.0])


@pytest.mark.parametrize("log_ratio", [-1e4, -89.0, 89.0, 1e4])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_ppo_stays_finite_however_far_the_policy_has_moved(log_ratio, advantage):
    logprobs = torch.full((1, 1), log_ratio, requires_grad=True)
    loss = losses.ppo_clip(logprobs, torch.zeros(1, 1), torch.tensor([advantage]))
    (slope,) = torch.autograd.grad(loss, logprobs)
    assert loss.isfinite()
    assert slope.item() == 0.0


def test_at_the_old_policy_ppo_has_the_gradient_of_reinforce():
    logprobs = tensor(0).requires_grad_()
    advantages = tensor(1) + 0.5
    (of_ppo,) = torch.autograd.grad(losses.ppo_clip(logprobs, logprobs.detach(), advantages, MASK), logprobs)
    (of_reinforce,) = torch.autograd.grad(losses.reinforce(logprobs, advantages, MASK), logprobs)
    torch.testing.assert_close(of_ppo, of_reinforce)


def test_value_clip_by_hand():
    values, old, returns = torch.tensor([[1.0, 0.1]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    # max(1, 0.2^2) and max(0.9^2, 0.9^2), halved
    assert losses.value_clip(values, old, returns, clip=0.2).item() == pytest.approx(0.5 + 0.5 * 0.81)


def test_truncated_importance_by_hand():
    found = losses.truncated_importance(torch.tensor([0.0, 1.0, 50.0]), torch.tensor([0.5, 0.5, -50.0]), maximum=3)
    assert found.tolist() == pytest.approx([math.exp(-0.5), math.exp(0.5), 3.0])
    assert not losses.truncated_importance(torch.zeros(1, requires_grad=True), torch.zeros(1)).requires_grad


def test_gradients_are_right():
    logprobs, old, advantages = tensor(0).requires_grad_(), tensor(1), tensor(2) + 0.5
    assert torch.autograd.gradcheck(lambda x: losses.reinforce(x, advantages, MASK), (logprobs,))
    assert torch.autograd.gradcheck(lambda x: losses.ppo_clip(x, old, advantages, MASK), (logprobs,))
    assert torch.autograd.gradcheck(lambda x: losses.value_clip(x, old, advantages, MASK), (logprobs,))


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_padding_changes_neither_loss_nor_gradient_whatever_stands_there(garbage):
    def dirty(values: torch.Tensor) -> torch.Tensor:
        return torch.where(MASK, values, garbage)

    for loss in (losses.reinforce, losses.ppo_clip, losses.value_clip):
        parts = [tensor(0), tensor(2)] if loss is losses.reinforce else [tensor(0), tensor(1), tensor(2)]
        clean_input, dirty_input = parts[0].clone().requires_grad_(), dirty(parts[0]).requires_grad_()
        clean_loss = loss(clean_input, *parts[1:], MASK)
        dirty_loss = loss(dirty_input, *map(dirty, parts[1:]), MASK)
        torch.testing.assert_close(dirty_loss, clean_loss)
        clean_loss.backward()
        dirty_loss.backward()
        torch.testing.assert_close(dirty_input.grad, clean_input.grad)
        assert (dirty_input.grad[~MASK] == 0).all()


def test_shapes_and_options_that_do_not_fit_are_refused():
    z = torch.zeros(2, 3)
    for call, message in [
        (lambda: losses.reinforce(z[0], z[0]), "logprobs must be a non-empty tensor"),
        (lambda: losses.reinforce(z, torch.zeros(3)), r"advantages must have shape \(2,\) or \(2, 3\), got \(3,\)"),
        (lambda: losses.reinforce(z, z, weights=torch.zeros(3)), "weights must have shape"),
        (lambda: losses.reinforce(z, z, torch.ones(2, 4)), "logprobs and mask must have the same shape"),
        (lambda: losses.ppo_clip(z, torch.zeros(2, 4), z), "logprobs and old_logprobs must have the same shape"),
        (lambda: losses.ppo_clip(z, z, z, clip=1), r"clip must lie in \(0, 1\), got 1"),
        (lambda: losses.value_clip(z, z, z[0]), "values and returns must have the same shape"),
        (lambda: losses.value_clip(z, z[0], z), "values and old_values must have the same shape"),
        (lambda: losses.value_clip(z, z, z, clip=0), "clip must be a finite number above 0"),
        (lambda: losses.truncated_importance(z, z, maximum=0.5), "maximum must be finite and at least 1, got 0.5"),
        (lambda: losses.truncated_importance(z, z[0]), "logprobs and behaviour_logprobs must have the same shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
