"""The expected gradient of every KL choice against what its docstring and its note state."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from allgood import kl
from tests.oracles.enumerable_policy import (
    MASK,
    all_logprobs,
    descent_direction,
    probabilities,
    random_logits,
    relative_error,
    token_logprobs,
)
from tests.oracles.kl_gradients import (
    ESTIMATORS,
    Loss,
    as_loss,
    as_reward,
    error_of,
    full_as_loss,
    full_as_reward,
    loss_of,
)

POLICIES = [(random_logits(seed), random_logits(seed + 50)) for seed in range(3)]
EXACT_TO = 1e-12


def direction(loss: Loss, logits: Tensor, ref_logits: Tensor) -> Tensor:
    return descent_direction(lambda x: loss(x, ref_logits), logits)


CHOICES = [*product(("k1", "k2", "k3", "full"), ("reward", "loss")), ("k2_sequence", "loss")]


@pytest.mark.parametrize(("estimator", "placement"), CHOICES)
def test_a_choice_is_called_exact_when_its_gradient_is(estimator, placement):
    for policy, reference in POLICIES:
        error = error_of(loss_of(estimator, placement), policy, reference)
        assert (error < EXACT_TO) if kl.choice(estimator, placement).is_exact else (error > 0.1)


def test_k1_in_the_reward_must_count_later_tokens():
    for policy, reference in POLICIES:
        assert error_of(partial(as_reward, kl.k1, later_tokens=False), policy, reference) > 0.1


def test_k1_as_a_loss_has_no_expected_gradient():
    for policy, reference in POLICIES:
        assert direction(partial(as_loss, kl.k1), policy, reference).abs().max() < EXACT_TO


def test_the_full_kl_as_reward_and_loss_together_is_exact():
    for policy, reference in POLICIES:
        both = direction(full_as_loss, policy, reference) + direction(full_as_reward, policy, reference)
        assert relative_error(both, direction(partial(as_reward, kl.k1), policy, reference)) < EXACT_TO


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_reward_and_loss_together_are_the_gradient_of_the_penaltys_expectation(estimator):
    # What a placement lacks is what the other one has; k1 and k3 are unbiased, so for them that is the KL's gradient.
    for policy, reference in POLICIES:

        def expectation(logits: Tensor, ref_logits: Tensor) -> Tensor:
            per_token = ESTIMATORS[estimator](token_logprobs(logits), token_logprobs(ref_logits)) * MASK
            return (probabilities(logits) * per_token.sum(-1)).sum()

        both = sum(direction(loss_of(estimator, placement), policy, reference) for placement in ("reward", "loss"))
        assert relative_error(both, direction(expectation, policy, reference)) < EXACT_TO
        unbiased = error_of(expectation, policy, reference) < EXACT_TO
        assert unbiased == (estimator in ("k1", "k3"))


def test_k2_per_token_full_and_k1_without_later_tokens_are_the_same_gradient():
    for policy, reference in POLICIES:
        first = direction(partial(as_loss, kl.k2), policy, reference)
        assert relative_error(direction(full_as_loss, policy, reference), first) < EXACT_TO
        alone = direction(partial(as_reward, kl.k1, later_tokens=False), policy, reference)
        assert relative_error(alone, first) < EXACT_TO


def test_k3_as_a_loss_is_the_forward_kl_at_the_states_visited():
    # E_pi[d/dtheta (rho - log rho)] = -E_pi0[d log pi], per position
    def forward_kl(logits: Tensor, ref_logits: Tensor) -> Tensor:
        log_pi, log_pi_0 = all_logprobs(logits), all_logprobs(ref_logits)
        per_token = (log_pi_0.exp() * (log_pi_0 - log_pi)).sum(-1)
        return (probabilities(logits).detach() * (per_token * MASK).sum(-1)).sum()

    for policy, reference in POLICIES:
        found = direction(partial(as_loss, kl.k3), policy, reference)
        assert relative_error(found, direction(forward_kl, policy, reference)) < EXACT_TO


def test_sequence_k1_k3_and_full_have_the_same_expectation_and_k2_another():
    policy, reference = POLICIES[0]
    log_pi, log_pi_0 = token_logprobs(policy), token_logprobs(reference)
    exact = (probabilities(policy) * (log_pi - log_pi_0).sum(-1)).sum()
    for estimator in (kl.k1, kl.k3):
        found = (probabilities(policy) * (estimator(log_pi, log_pi_0) * MASK).sum(-1)).sum()
        torch.testing.assert_close(found, exact)
    by_vocabulary = kl.full(all_logprobs(policy), all_logprobs(reference)) * MASK
    torch.testing.assert_close((probabilities(policy) * by_vocabulary.sum(-1)).sum(), exact)
    biased = (probabilities(policy) * (kl.k2(log_pi, log_pi_0) * MASK).sum(-1)).sum()
    assert (biased - exact).abs() > 0.1 * exact
