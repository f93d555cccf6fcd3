"""How far gold reaches above its bar: the mean excess of good responses, and where gold would have to end for it.

The largest of n samples grows with n; the mean excess of what is over the bar does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr

from allgood.diagnosis.samples import DiagnosedSamples

Floats = NDArray[np.float64]

_CEILINGS = np.concatenate([np.geomspace(0.05, 4.0, 40), [np.inf]])
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


def excess(samples: DiagnosedSamples) -> Floats:
    """Sum over good samples of their excess over the bar, in the prompt's standard deviations, [properties, prompts].

    0 where scores do not vary within a prompt.
    """
    assert samples.scores is not None
    assert samples.bars is not None
    # Each response is measured by the deviation of the others, which it does not widen; their noise is known.
    freedom = samples.num_samples - 2
    inflation = np.sqrt(freedom / 2) * np.exp(gammaln((freedom - 1) / 2) - gammaln(freedom / 2))  # E[1 / deviation]
    centred = samples.scores - samples.scores.mean(-1, keepdims=True)
    total = (centred**2).sum(-1, keepdims=True)
    others = total - centred**2 * samples.num_samples / (samples.num_samples - 1)
    deviations = inflation * np.sqrt(np.maximum(others, 0) / freedom)
    above = np.where(samples.is_good, samples.scores - samples.bars[..., None], 0.0)
    found: Floats = np.divide(above, deviations, out=np.zeros_like(above), where=deviations > 0).sum(-1)
    return found


def expected_room(bar: float, variation: float, ceiling: float) -> float:
    """Mean excess of good responses, in standard deviations within a prompt, of normal gold that ends at a ceiling.

    Args:
        bar: Its mean over prompts, in spreads.
        variation: Its standard deviation over prompts.
        ceiling: Spreads above the bar; infinite without an end.
    """
    return float(_expected(bar, variation, np.array([ceiling]))[0])


def ceiling_of(room: float, bar: float, variation: float) -> float:
    """Where gold ends, in spreads above the bar, if its mean excess is `room`; infinite where no end shows."""
    expected = _expected(bar, variation, _CEILINGS)
    if room >= expected[-2]:
        return float("inf")
    return float(np.interp(room, expected[:-1], _CEILINGS[:-1]))


def _expected(bar: float, variation: float, ceilings: Floats) -> Floats:
    bars = bar + variation * _NODES
    ends = np.minimum(bars + ceilings[:, None], 40.0)
    above = (_mean_over(bars) - _mean_over(ends)) / censored_deviation(ends)
    expected: Floats = (above @ _WEIGHTS) / (ndtr(-bars) @ _WEIGHTS)
    return expected


def censored_deviation(ends: Floats) -> Floats:
    """Standard deviation of standard normal gold with whatever lies over an end at it."""
    above = ndtr(-ends)
    mean = -_density(ends) + ends * above
    square = ndtr(ends) - ends * _density(ends) + ends**2 * above
    deviation: Floats = np.sqrt(np.maximum(square - mean**2, 1e-12))
    return deviation


def _mean_over(bars: Floats) -> Floats:
    """E[(z - bar)+] of a standard normal z."""
    mean: Floats = _density(bars) - bars * ndtr(-bars)
    return mean


def _density(values: Floats) -> Floats:
    density: Floats = np.exp(-(values**2) / 2) / np.sqrt(2 * np.pi)
    return density
