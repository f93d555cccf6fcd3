"""Which losses and KL choices have the gradient of E[u] - gamma * KL, on a policy that can be enumerated."""

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
    all_logprobs,
    descent_direction,
    probabilities,
    problem,
    random_logits,
    relative_error,
    token_logprobs,
)

POLICY = random_logits(7)
EXACT_TO = 1e-12


def expected(logits: Tensor) -> Tensor:
    """Weights that turn a loss' mean over the 15 responses into its expectation under the policy, [responses]."""
    return len(RESPONSES) * probabilities(logits).detach()


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


# ---- KL choices: the gradient of -gamma * KL alone, against what each docstring says ----


def kl_only() -> Problem:
    task = problem()
    return Problem(task.reference_logits, torch.zeros_like(task.utilities), 1.0)


def as_reward(penalty: Callable[[Tensor, Tensor], Tensor], *, later_tokens: bool = True) -> Callable[[Tensor], Tensor]:
    """REINFORCE on minus the penalty; with later tokens each action answers for all that follows."""

    def loss(logits: Tensor) -> Tensor:
        per_token = penalty(*_pair(logits)).detach() * MASK
        to_go = per_token.flip(-1).cumsum(-1).flip(-1) if later_tokens else per_token
        return losses.reinforce(token_logprobs(logits), -to_go, MASK, weights=expected(logits))

    return loss


def as_loss(penalty: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def loss(logits: Tensor) -> Tensor:
        return (probabilities(logits).detach() * (penalty(*_pair(logits)) * MASK).sum(-1)).sum()

    return loss


def sequence_k2_as_loss(logits: Tensor) -> Tensor:
    log_pi, log_pi_0 = (tokens.sum(-1) for tokens in _pair(logits))
    return (probabilities(logits).detach() * kl.k2(log_pi, log_pi_0)).sum()


def full_as_loss(logits: Tensor) -> Tensor:
    return (probabilities(logits).detach() * (_full(logits) * MASK).sum(-1)).sum()


def full_as_reward(logits: Tensor) -> Tensor:
    # The KL at a position is known before its token is drawn: the token answers for later positions only.
    per_token = _full(logits).detach() * MASK
    later = per_token.flip(-1).cumsum(-1).flip(-1) - per_token
    return losses.reinforce(token_logprobs(logits), -later, MASK, weights=expected(logits))


def _pair(logits: Tensor) -> tuple[Tensor, Tensor]:
    return token_logprobs(logits), token_logprobs(kl_only().reference_logits)


def _full(logits: Tensor) -> Tensor:
    return kl.full(all_logprobs(logits), all_logprobs(kl_only().reference_logits))


def error_of(loss: Callable[[Tensor], Tensor]) -> float:
    return relative_error(descent_direction(loss, POLICY), kl_only().gradient(POLICY))


def test_exact_kl_choices():
    assert error_of(as_reward(kl.k1)) < EXACT_TO
    assert error_of(sequence_k2_as_loss) < EXACT_TO
    assert error_of(lambda logits: full_as_loss(logits) + full_as_reward(logits)) < EXACT_TO


def test_k1_as_a_loss_has_no_expected_gradient():
    assert descent_direction(as_loss(kl.k1), POLICY).abs().max() < EXACT_TO


def test_inexact_kl_choices_are_far_off():
    for loss in (
        as_reward(kl.k1, later_tokens=False),
        as_reward(kl.k2),
        as_reward(kl.k3),
        as_loss(kl.k2),
        as_loss(kl.k3),
        full_as_loss,
        full_as_reward,
    ):
        assert error_of(loss) > 0.1


def test_k2_per_token_full_and_k1_without_later_tokens_are_the_same_gradient():
    first = descent_direction(as_loss(kl.k2), POLICY)
    assert relative_error(descent_direction(full_as_loss, POLICY), first) < EXACT_TO
    assert relative_error(descent_direction(as_reward(kl.k1, later_tokens=False), POLICY), first) < EXACT_TO


def test_k3_as_a_loss_is_the_forward_kl_at_the_states_visited():
    # E_pi[d/dtheta (rho - log rho)] = -E_pi0[d log pi], per position
    def forward_kl(logits: Tensor) -> Tensor:
        log_pi, log_pi_0 = all_logprobs(logits), all_logprobs(kl_only().reference_logits)
        per_token = (log_pi_0.exp() * (log_pi_0 - log_pi)).sum(-1)
        return (probabilities(logits).detach() * (per_token * MASK).sum(-1)).sum()

    assert relative_error(descent_direction(as_loss(kl.k3), POLICY), descent_direction(forward_kl, POLICY)) < EXACT_TO
