"""Best-of-k against every subset, against the closed form, against simulation, and against its speed."""

import math
import time
from itertools import combinations

import pytest
import torch

from allgood.best_of_k import best_of_k, best_of_k_by_prompt, kl_bound, kl_estimate


def by_every_subset(scores: torch.Tensor, values: torch.Tensor, k: int) -> float:
    """Mean over k-subsets of the value of the best, equal best ones sharing; one prompt."""
    total = 0.0
    subsets = list(combinations(range(len(scores)), k))
    for subset in subsets:
        best = max(float(scores[i]) for i in subset)
        winners = [float(values[i]) for i in subset if float(scores[i]) == best]
        total += sum(winners) / len(winners)
    return total / len(subsets)


@pytest.mark.parametrize("levels", [2, 3, 100])
def test_every_subset(levels):
    generator = torch.Generator().manual_seed(levels)
    scores = torch.randint(0, levels, (2, 8), generator=generator)
    values = torch.randn(2, 8, dtype=torch.float64, generator=generator)
    found = best_of_k_by_prompt(scores, values)
    for prompt in range(2):
        for k in range(1, 9):
            expected = by_every_subset(scores[prompt], values[prompt], k)
            assert found[prompt, k - 1].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_samples", [1, 2, 10, 333, 5000])
def test_ranks_have_a_closed_form(num_samples):
    # The expected rank of the best of k out of N is k (N + 1) / (k + 1).
    order = torch.randperm(num_samples, generator=torch.Generator().manual_seed(0))
    ranks = torch.arange(1, num_samples + 1, dtype=torch.float64)[order][None]
    k = torch.arange(1, num_samples + 1, dtype=torch.float64)
    torch.testing.assert_close(best_of_k(ranks, ranks), k * (num_samples + 1) / (k + 1), rtol=1e-11, atol=0)


def test_simulation():
    generator = torch.Generator().manual_seed(0)
    scores, values = torch.randn(1, 12, generator=generator), torch.rand(1, 12, generator=generator)
    found = best_of_k(scores, values)
    for k in (2, 5, 9):
        subsets = torch.rand(100_000, 12, generator=generator).argsort(-1)[:, :k]
        best = subsets.gather(-1, scores[0][subsets].argmax(-1, keepdim=True))
        assert values[0][best].mean().item() == pytest.approx(found[k - 1].item(), abs=0.005)


def test_it_is_unbiased_for_the_best_of_k_fresh_samples():
    # N = 6 samples per prompt say what k = 4 fresh ones would give: uniform scores, E max = 4/5.
    scores = torch.rand(60_000, 6, generator=torch.Generator().manual_seed(0))
    assert best_of_k(scores, scores)[3].item() == pytest.approx(0.8, abs=0.003)


def test_the_bound_is_the_kl_of_the_continuum():
    x = (torch.arange(2_000_000, dtype=torch.float64) + 0.5) / 2_000_000
    for k in (4, 16, 64):
        density = k * x ** (k - 1)
        assert torch.xlogy(density, density).mean().item() == pytest.approx(kl_bound(k), abs=1e-6)


def test_the_estimate_is_the_exact_kl_of_a_discrete_pi_0():
    counts = torch.tensor([1, 4, 2, 9])  # of scores 0 .. 3
    scores = torch.arange(4.0).repeat_interleave(counts)[None]
    p = counts.double() / 16
    upto = p.cumsum(0)
    for k in (2, 5, 16):
        share = upto**k - (upto - p) ** k
        # The single sample at score 0 is taken for a continuum, which only the other three atoms are not.
        atoms = (share * (share / p).log())[1:].sum().item()
        alone = (1 / 16) ** k * (math.log(k) + (k - 1) * math.log(1 / 16) - (k - 1) / k)
        assert kl_estimate(scores, k) == pytest.approx(atoms + alone, abs=1e-12)
        assert kl_estimate(scores, k) < kl_bound(k)


def test_all_k_of_many_samples_take_little_more_than_linear_time():
    def seconds(num_samples: int) -> float:
        scores = torch.rand(1, num_samples, generator=torch.Generator().manual_seed(0))
        started = time.process_time()
        best_of_k(scores, scores)
        return time.process_time() - started

    seconds(1000)
    assert seconds(16_000) < 8 * max(seconds(4000), 0.05)  # quadratic would be 16 times
