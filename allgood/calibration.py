"""Is a reward model's sigma(r+ - r-) the rate at which people agree? Reliability curve, calibration error, temperature.

The log-sigmoid is not scale-free: rewards twice as large are another method. Confidence of a pair is sigma(|r+ - r-|),
correct is r+ > r- (ties one half).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from allgood.checks import require_finite
from allgood.intervals import Numbers, as_float64
from allgood.number_checks import Number, require_positive

_LOG_TEMPERATURES = (math.log(1e-3), math.log(1e3))
_NEAR = 1e-3  # relative: closer to an end than this is at it


@dataclass(frozen=True)
class Reliability:
    """The reliability curve, one entry per non-empty bin, [bins]: mean confidence, accuracy, number of pairs."""

    confidence: Tensor
    accuracy: Tensor
    count: Tensor

    @property
    def expected_calibration_error(self) -> float:
        """Mean distance of accuracy and confidence, weighted by pairs (ECE)."""
        weights = self.count / self.count.sum()
        return float((weights * (self.accuracy - self.confidence).abs()).sum())


def reliability_curve(margins: Numbers, *, num_bins: int = 10) -> Reliability:
    """Confidence against accuracy of preference pairs.

    Args:
        margins: r(chosen) - r(rejected) of held-out pairs, [pairs].
        num_bins: Equal bins of confidence from 1/2 to 1.

    Raises:
        ValueError: No pair, another shape, a margin is not finite, or num_bins below 1.
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    numbers = _margins(margins)
    confidence = torch.sigmoid(numbers.abs())
    correct = (numbers > 0).double() + 0.5 * (numbers == 0).double()
    bins = ((confidence - 0.5) * 2 * num_bins).long().clamp(max=num_bins - 1)
    count = torch.bincount(bins, minlength=num_bins).double()
    filled = count > 0
    mean_confidence = torch.bincount(bins, weights=confidence, minlength=num_bins)[filled] / count[filled]
    accuracy = torch.bincount(bins, weights=correct, minlength=num_bins)[filled] / count[filled]
    return Reliability(mean_confidence, accuracy, count[filled])


def expected_calibration_error(margins: Numbers, *, num_bins: int = 10) -> float:
    """ECE of preference pairs. Arguments and errors as in `reliability_curve`."""
    return reliability_curve(margins, num_bins=num_bins).expected_calibration_error


def fit_temperature(margins: Numbers) -> float:
    """The T that maximises the likelihood of sigma((r+ - r-) / T) on held-out pairs: rewards / T are calibrated.

    Args:
        margins: r(chosen) - r(rejected), [pairs].

    Returns:
        T within [1e-3, 1e3]. At an end the likelihood has no maximum inside: every pair is right (1e-3), or the model
        is no better than chance (1e3).

    Raises:
        ValueError: No pair, another shape, or a margin is not finite.
    """
    numbers = _margins(margins)

    def loss(log_temperature: Number) -> float:
        return float(-F.logsigmoid(numbers / math.exp(log_temperature)).mean())

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-8})
    best = min((*_LOG_TEMPERATURES, float(found.x)), key=loss)
    return math.exp(best)


def why_at_bound(temperature: float) -> str | None:
    """Why a fitted temperature is none: it lies at an end of the interval that `fit_temperature` searches.

    Returns:
        The reason, for a sentence; None for a temperature inside the interval.

    Raises:
        ValueError: `temperature` is not a finite number above 0.
    """
    require_positive("temperature", temperature)
    low, high = map(math.exp, _LOG_TEMPERATURES)
    if temperature <= low * (1 + _NEAR):
        return "the model is right on every pair, and the smaller the temperature, the better the fit"
    if temperature >= high * (1 - _NEAR):
        return "the model is no better than chance on the pairs"
    return None


def _margins(margins: Numbers) -> Tensor:
    numbers = as_float64(margins)
    if numbers.ndim != 1 or numbers.numel() == 0:
        raise ValueError(f"margins must be non-empty [pairs], got shape {tuple(numbers.shape)}")
    require_finite("margins", numbers)
    return numbers
