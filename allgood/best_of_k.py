"""Best-of-k from N samples per prompt, for every k = 1..N at once, without bias and without drawing subsets.

Sort a prompt's samples by score. The i-th from below is the best of a random k-subset with probability
C(i - 1, k - 1) / C(N, k). For large k only the top matters: beyond 50 (N - 1) / (k - 1) ranks from the top the
probabilities are below e^-50 of the first, so all k together cost about 50 N log N multiplications.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from allgood.checks import in_float, require_finite, require_same_shape, require_shape

_NEGLIGIBLE = 50.0  # nats below the first weight: e^-50 is under the rounding of float64


def best_of_k(scores: Tensor, values: Tensor) -> Tensor:
    """Expected `values` of the best of k samples by `scores`, averaged over prompts, for k = 1..N.

    Args:
        scores: [prompts, samples]; what best-of-k selects by. Equal scores share: each is taken equally often.
        values: [prompts, samples]; what is asked for (gold, length, a rate).

    Returns:
        [samples], entry k - 1 for best-of-k, in the dtype of `values`, summed in float64. Differentiable in `values`,
        not in `scores`.

    Raises:
        ValueError: Shapes differ, no sample, or a number is not finite.

    >>> best_of_k(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 1.0]]))
    tensor([0.3333, 0.6667, 1.0000])
    """
    ordered = _in_score_order(scores, values).mean(0, keepdim=True)
    return _best_of_every_k(ordered)[0].to(in_float(values).dtype)


def best_of_k_by_prompt(scores: Tensor, values: Tensor) -> Tensor:
    """As `best_of_k`, but per prompt: [prompts, samples], column k - 1 for best-of-k."""
    return _best_of_every_k(_in_score_order(scores, values)).to(in_float(values).dtype)


def selection_weights(scores: Tensor, ks: Sequence[int]) -> Tensor:
    """P(a sample is the best of a random k-subset of its prompt's samples), for each k.

    Samples that share a score share their weight. Weighted by these, any values add up to what `best_of_k` gives.

    Args:
        scores: [prompts, samples].
        ks: Each in 1..N.

    Returns:
        [ks, prompts, samples] in float64, adding up to 1 per prompt.

    Raises:
        ValueError: Another shape, a score is not finite, or a k outside 1..N.

    >>> selection_weights(torch.tensor([[1.0, 3.0, 2.0]]), [2])
    tensor([[[0.0000, 0.6667, 0.3333]]], dtype=torch.float64)
    """
    require_shape("scores", scores, 2, "[prompts, samples]")
    require_finite("scores", scores)
    num_samples = scores.shape[1]
    for k in ks:
        _require_k(k, num_samples)
    ordered, order = scores.detach().sort(dim=-1)
    below, upto = _tie_ranks(ordered)
    weights = torch.empty((len(ks), *scores.shape), dtype=torch.float64, device=scores.device)
    for index, k in enumerate(ks):
        best_first = _weights(num_samples, k, device=scores.device)
        by_rank = torch.nn.functional.pad(best_first, (0, num_samples - len(best_first))).flip(0)
        upto_rank = torch.nn.functional.pad(by_rank.cumsum(0), (1, 0))
        shared = torch.where(upto - below > 1, (upto_rank[upto] - upto_rank[below]) / (upto - below), by_rank)
        weights[index].scatter_(-1, order, shared)
    return weights


def kl_bound(k: int) -> float:
    """KL(best-of-k || pi_0) <= log k - (k - 1)/k, in nats; equality when no two responses share a score.

    Source:
        Beirami et al. 2024, arXiv:2401.01879.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return math.log(k) - (k - 1) / k


def kl_estimate(scores: Tensor, k: int) -> float:
    """KL(best-of-k || pi_0) with the ties that the samples show, averaged over prompts, in nats.

    Samples that share a score are kept in pi_0's proportions, so selection among them costs no KL: the estimate lies
    below the bound as soon as there are ties (repeated responses, a saturated or discrete score) and equals it without.

    Args:
        scores: [prompts, samples].
        k: 1..N.

    Raises:
        ValueError: Another shape, a score is not finite, or k outside 1..N.
    """
    require_shape("scores", scores, 2, "[prompts, samples]")
    require_finite("scores", scores)
    num_samples = scores.shape[1]
    _require_k(k, num_samples)
    below, upto = _tie_ranks(scores.detach().sort(-1).values)
    low, high = below.double() / num_samples, upto.double() / num_samples  # of pi_0, beneath and up to the tie
    mass = high - low
    share = high.pow(k) - low.pow(k)  # of best-of-k
    # exp(-700) stands for a share that underflows; multiplied by the share it is 0 all the same.
    tied = share * (share.clamp(min=math.exp(-700)) / mass).log()
    alone = _continuous_kl(high, k) - _continuous_kl(low, k)
    per_sample = torch.where(upto - below > 1, tied, alone) / (upto - below)
    return float(per_sample.sum(-1).mean())


def _require_k(k: int, num_samples: int) -> None:
    if not 1 <= k <= num_samples:
        raise ValueError(f"k must lie in 1..{num_samples}, the samples per prompt, got {k}")


def _in_score_order(scores: Tensor, values: Tensor) -> Tensor:
    """Values [prompts, samples] from the worst score to the best; samples of equal score share their mean value."""
    require_shape("scores", scores, 2, "[prompts, samples]")
    require_same_shape("scores", scores, "values", values)
    require_finite("scores", scores)
    require_finite("values", values)
    ordered, order = scores.detach().sort(dim=-1)
    values = values.double().gather(-1, order)
    below, upto = _tie_ranks(ordered)
    sums = torch.nn.functional.pad(values.cumsum(-1), (1, 0))
    tied = (sums.gather(-1, upto) - sums.gather(-1, below)) / (upto - below)
    return torch.where(upto - below > 1, tied, values)


def _tie_ranks(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """How many scores are below each, and how many are not above it, [prompts, samples]."""
    ordered = ordered.contiguous()
    below = torch.searchsorted(ordered, ordered, right=False)
    return below, torch.searchsorted(ordered, ordered, right=True)


def _best_of_every_k(ordered: Tensor) -> Tensor:
    """[prompts, samples] in order of score -> expectation for every k, [prompts, samples]."""
    num_samples = ordered.shape[-1]
    best_first = ordered.flip(-1)
    expectations = torch.empty_like(ordered)
    for k in range(1, num_samples + 1):
        weights = _weights(num_samples, k, device=ordered.device)
        expectations[:, k - 1] = best_first[:, : len(weights)] @ weights
    return expectations


def _weights(num_samples: int, k: int, *, device: torch.device) -> Tensor:
    """P(rank j from the top is the best of a k-subset), for all ranks that matter.

    The first is k/N; each next is the one before times (N - j - k + 1)/(N - j), j = 1, 2, ...
    """
    possible = num_samples - k + 1
    if k > 1:
        possible = min(possible, math.ceil(_NEGLIGIBLE * (num_samples - 1) / (k - 1)) + 1)
    ranks = torch.arange(1, possible, dtype=torch.float64, device=device)
    ratios = (num_samples - ranks - k + 1) / (num_samples - ranks)
    first = torch.full((1,), k / num_samples, dtype=torch.float64, device=device)
    return torch.cat([first, ratios]).cumprod(0)


def _continuous_kl(quantile: Tensor, k: int) -> Tensor:
    """Integral of k F^(k-1) log(k F^(k-1)) from 0 to `quantile`."""
    logs = math.log(k) + (k - 1) * quantile.clamp(min=1e-300).log() - (k - 1) / k
    return quantile.pow(k) * logs
