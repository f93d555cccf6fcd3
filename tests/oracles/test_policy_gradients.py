"""Which losses have the gradient of E[u] - gamma * KL and reach its optimum, on a policy that can be enumerated."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from allgood import advantages, kl, losses
from tests.oracles.enumerable_policy import (
    MASK,
    RESPONSES,
    Problem,
    descent_direction,
    expected,
    probabilities,
    problem,
    random_logits,
    relative_error,
    token_logprobs,
)

POLICY = random_logits(7)
EXACT_TO = 1e-12


def k1_of(task: Problem, logits: Tensor) -> Tensor:
    return kl.k1(token_logprobs(logits).detach(), token_logprobs(task.reference_logits)) * MASK


def token_rewards(task: Problem, logits: Tensor) -> Tensor:
    """-gamma k1 at every token, plus u at the last."""
    last = MASK & ~torch.nn.functional.pad(MASK[:, 1:], (0, 1))
    return task.utilities[:, None] * last - task.gamma * k1_of(task, logits)


def reinforce_with_k1(task: Problem) -> Callable[[Tensor], Tensor]:
    def loss(logits: Tensor) -> Tensor:
        returns = task.utilities - task.gamma * k1_of(task, logits).sum(-1)
        return losses.reinforce(token_logprobs(logits), returns, MASK, weights=expected(logits))

    return loss


def ppo_with_k1(task: Problem, *, gae_lambda: float = 1.0, values: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    def loss(logits: Tensor) -> Tensor:
        rewards = token_rewards(task, logits)
        baseline = torch.zeros_like(rewards) if values is None else values
        gained = advantages.gae(rewards, baseline, MASK, gae_lambda=gae_lambda)
        now = token_logprobs(logits)
        return losses.ppo_clip(now, now.detach(), gained, MASK, weights=expected(logits))

    return loss


def prefix_values() -> Tensor:
    """Any value function of the prefix alone, [responses, tokens]."""
    by_prefix: dict[tuple[int, ...], float] = {}
    generator = torch.Generator().manual_seed(3)
    rows = []
    for response in RESPONSES:
        row = []
        for t in range(3):
            value = float(torch.randn(1, generator=generator))
            row.append(by_prefix.setdefault(response[:t], value) if t < len(response) else 0.0)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def truncated_importance_with_k1(task: Problem) -> Callable[[Tensor], Tensor]:
    """Samples come from another policy; the weights bring the expectation back."""

    def loss(logits: Tensor) -> Tensor:
        behaviour = token_logprobs(random_logits(8)).sum(-1)
        weights = losses.truncated_importance(token_logprobs(logits).sum(-1), behaviour, maximum=1e6)
        returns = task.utilities - task.gamma * k1_of(task, logits).sum(-1)
        sampled = len(RESPONSES) * behaviour.exp()
        return losses.reinforce(token_logprobs(logits), returns, MASK, weights=weights * sampled)

    return loss


LOSSES = {
    "reinforce": reinforce_with_k1,
    "ppo": ppo_with_k1,
    "ppo with a value function": lambda task: ppo_with_k1(task, values=prefix_values()),
    "truncated importance": truncated_importance_with_k1,
}


@pytest.mark.parametrize("name", LOSSES)
def test_k1_in_the_reward_has_the_exact_gradient(name):
    task = problem()
    found = descent_direction(LOSSES[name](task), POLICY)
    assert relative_error(found, task.gradient(POLICY)) < EXACT_TO


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_reaches_the_tabular_target(name):
    task = problem(gamma=1.0)
    logits = task.reference_logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.996)
    loss = LOSSES[name](task)
    for _ in range(1200):
        optimizer.zero_grad()
        loss(logits).backward()
        optimizer.step()
        schedule.step()
    assert (probabilities(logits.detach()) - task.optimum()).abs().max() < 1e-3
    assert task.value(logits.detach()) == pytest.approx(
        float(
            task.gamma * torch.logsumexp(token_logprobs(task.reference_logits).sum(-1) + task.utilities / task.gamma, 0)
        ),
        abs=1e-4,
    )


def test_dividing_by_length_misses_the_target():
    # The damage that the mean over responses avoids.
    task = problem()

    def loss(logits: Tensor) -> Tensor:
        returns = task.utilities - task.gamma * k1_of(task, logits).sum(-1)
        by_length = returns / MASK.sum(-1)
        return losses.reinforce(token_logprobs(logits), by_length, MASK, weights=expected(logits))

    assert relative_error(descent_direction(loss, POLICY), task.gradient(POLICY)) > 0.1


@pytest.mark.parametrize("num_samples", [2, 3])
def test_rloo_is_unbiased(num_samples):
    # Every possible group of samples, weighted by its probability.
    task = problem()
    groups = torch.tensor(list(product(range(len(RESPONSES)), repeat=num_samples)))
    logits = POLICY.clone().requires_grad_()
    returns = (task.utilities - task.gamma * k1_of(task, logits).sum(-1))[groups]
    by_group = probabilities(logits).detach()[groups].prod(-1, keepdim=True).expand_as(returns)
    ids = torch.arange(len(groups)).repeat_interleave(num_samples)
    for gained in (advantages.rloo(returns).reshape(-1), advantages.rloo(returns.reshape(-1), ids)):
        rows = groups.reshape(-1)
        loss = losses.reinforce(
            token_logprobs(logits)[rows], gained, MASK[rows], weights=by_group.reshape(-1) * len(groups)
        )
        (slope,) = torch.autograd.grad(loss, logits)
        assert relative_error(-slope, task.gradient(POLICY)) < EXACT_TO


def test_the_group_mean_shrinks_the_gradient_by_a_known_factor():
    task = problem()
    groups = torch.tensor(list(product(range(len(RESPONSES)), repeat=2)))
    logits = POLICY.clone().requires_grad_()
    returns = (task.utilities - task.gamma * k1_of(task, logits).sum(-1))[groups]
    weights = probabilities(logits).detach()[groups].prod(-1, keepdim=True).expand_as(returns) * len(groups)
    rows = groups.reshape(-1)
    loss = losses.reinforce(
        token_logprobs(logits)[rows],
        advantages.group_mean(returns).reshape(-1),
        MASK[rows],
        weights=weights.reshape(-1),
    )
    (slope,) = torch.autograd.grad(loss, logits)
    assert relative_error(-slope, 0.5 * task.gradient(POLICY)) < EXACT_TO
