"""Tilting: the optimum of the KL-regularised problem, computed on samples of pi_0 without any training.

The optimum of E[u] - gamma * KL(pi || pi_0) is pi_0 * exp(u / gamma) / Z. On N samples of pi_0 for a prompt it is a set
of weights, from which follow its KL and the expectation of anything measured on the samples. N samples cannot show more
than log N nats, and read too low before that; `Tilt.reliable` says when.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from torch import Tensor

from allgood.checks import in_float, require_finite, require_same_shape, require_shape
from allgood.number_checks import Number, require_positive

_MAX_SHORTFALL = 0.05  # of the KL, when only half of the samples are used
_ROUNDING = 1e-12  # nats; a KL that small is the rounding of 0


@dataclass(frozen=True)
class Tilt:
    """The self-normalised optimum on N samples of pi_0 per prompt. All parts are differentiable in gamma and utilities.

    Attributes:
        weights: [prompts, samples], adding up to 1 per prompt.
        kl: KL(optimum || pi_0) per prompt, [prompts], in nats.
        half_sample_kl: The same from half of the samples, averaged over both halves, [prompts]; NaN below 4 samples.
    """

    weights: Tensor
    kl: Tensor
    half_sample_kl: Tensor

    @property
    def effective_sample_size(self) -> Tensor:
        """1 / sum of squared weights, between 1 and N, [prompts]."""
        return 1.0 / self.weights.square().sum(-1)

    @property
    def reliable(self) -> bool:
        """False when half of the samples show a KL more than 5 % lower: then all of them read too low as well."""
        return shows_its_kl(self.kl, self.half_sample_kl)

    def expect(self, values: Tensor) -> Tensor:
        """Expectation of `values` [prompts, samples] under the optimum, [prompts].

        Raises:
            ValueError: Another shape than the weights, or a value is not finite.
        """
        require_same_shape("values", values, "weights", self.weights)
        require_finite("values", values)
        return (self.weights * in_float(values)).sum(-1)


def shows_its_kl(kl: Tensor, half_sample_kl: Tensor) -> bool:
    """Whether the samples show the mean KL, [prompts] of one tilt or of several; see `Tilt.reliable`.

    Raises:
        ValueError: The two have different shapes.
    """
    require_same_shape("half_sample_kl", half_sample_kl, "kl", kl)
    shown, by_half = float(kl.detach().mean()), float(half_sample_kl.detach().mean())
    return by_half >= (1.0 - _MAX_SHORTFALL) * shown - _ROUNDING  # NaN, from too few samples, is not reliable


def tilt(utilities: Tensor, gamma: Number | Tensor) -> Tilt:
    """The optimum for one KL coefficient, weights proportional to exp(u / gamma).

    Args:
        utilities: [prompts, samples] of independent samples of pi_0 in any order, in nats.
        gamma: KL coefficient above 0, a number or a tensor of one element (differentiable).

    Raises:
        ValueError: Another shape, a utility that is not finite, or gamma not above 0.

    Source:
        pi* = pi_0 exp(u / gamma) / Z; with u = log P(good) it is pi_0 * P(good)^(1 / gamma), arXiv:2402.00742.

    >>> tilt(torch.tensor([[0.0, 0.0]]), 0.1).weights
    tensor([[0.5000, 0.5000]])
    """
    require_shape("utilities", utilities, 2, "[prompts, samples]")
    require_finite("utilities", utilities)
    if isinstance(gamma, Tensor) and gamma.numel() != 1:
        raise ValueError(f"gamma must be one number, got shape {tuple(gamma.shape)}")
    require_positive("gamma", gamma.item() if isinstance(gamma, Tensor) else gamma)
    utilities = in_float(utilities)
    exponents, dtype = _exponents(utilities, gamma), utilities.dtype
    weights, kl = _optimum(exponents)
    return Tilt(weights.to(dtype), kl.to(dtype), _half_sample_kl(exponents).to(dtype))


def solve_gamma(utilities: Tensor | Sequence[Tensor], target_kl: Number) -> float:
    """The gamma at which the mean over prompts of the tilt's KL equals `target_kl`. There is one: KL falls with gamma.

    Args:
        utilities: [prompts, samples] of samples of pi_0, in nats; or several such, of other numbers of samples.
        target_kl: Nats, above 0.

    Raises:
        ValueError: As in `tilt`, or the samples cannot reach the target: with one best sample out of N per prompt the
            KL ends at log N, with ties below.
    """
    grids = [utilities] if isinstance(utilities, Tensor) else list(utilities)
    for grid in grids:
        require_shape("utilities", grid, 2, "[prompts, samples]")
        require_finite("utilities", grid)
    target_kl = require_positive("target_kl", target_kl)
    values = [grid.detach().double() for grid in grids]
    reach = float(torch.cat([_reach(grid) for grid in values]).mean())
    if target_kl >= reach:
        most = max(grid.shape[1] for grid in values)
        raise ValueError(
            f"target_kl must be below {reach:.4f} nats, all that {most} samples per prompt can show "
            f"with these utilities, got {target_kl}; take more samples per prompt or a smaller target"
        )

    def excess(log_gamma: Number) -> float:
        kl = [_optimum(_exponents(grid, math.exp(log_gamma)))[1] for grid in values]
        return float(torch.cat(kl).mean()) - target_kl

    spreads = torch.cat([grid.std(-1, correction=0) for grid in values])
    return math.exp(_root(excess, start=math.log(float(spreads.mean()))))


def _exponents(utilities: Tensor, gamma: Number | Tensor) -> Tensor:
    """u / gamma, with the best sample of each prompt at 0.

    In float64: a small KL is the difference of two numbers near log N, and float32 would make noise of it.
    """
    centred = utilities - utilities.detach().amax(-1, keepdim=True)  # first: u / gamma may overflow
    return (centred.double() / gamma).clamp(min=-1e6)  # such a weight is 0 anyway; -inf would make NaN


def _optimum(exponents: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [prompts, samples] and KL [prompts]."""
    log_weights = torch.log_softmax(exponents, dim=-1)
    weights = log_weights.exp()
    kl = torch.einsum("ps,ps->p", weights, log_weights) + math.log(exponents.shape[-1])
    return weights, kl.clamp(min=0)  # rounding may end at -1e-7


def _half_sample_kl(exponents: Tensor) -> Tensor:
    half = exponents.shape[-1] // 2
    if half < 2:
        return torch.full_like(exponents[:, 0], math.nan)
    # Every second sample: also fair when somebody sorted them.
    parts = (exponents[:, 0 : 2 * half : 2], exponents[:, 1 : 2 * half : 2])
    return 0.5 * (_optimum(parts[0])[1] + _optimum(parts[1])[1])


def _reach(utilities: Tensor) -> Tensor:
    """KL as gamma goes to 0, [prompts]: only the best samples of each prompt keep weight."""
    num_best = (utilities == utilities.amax(-1, keepdim=True)).sum(-1)
    return math.log(utilities.shape[-1]) - num_best.double().log()


def _root(excess: Callable[[Number], Number], *, start: Number) -> float:
    """Where a decreasing function is 0, bracketed outwards from `start`."""
    low = high = start
    while excess(low) < 0:
        low -= 2.0
    while excess(high) > 0:
        high += 2.0
    return low if low == high else float(brentq(excess, low, high, xtol=1e-13, rtol=1e-13))
