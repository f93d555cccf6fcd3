"""Other ways to combine properties, for ablations: what the method, the formula (`formula`), is compared with.

Values are utilities (or rewards, where said) per property, all of one shape, usually [prompts, samples].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from allgood.checks import in_float, require_finite, require_same_shape, require_samples, require_shape
from allgood.ensembles import (
    ensemble_lower_bound,
    ensemble_mean,
    ensemble_median,
    ensemble_min,
)
from allgood.number_checks import Number, require_positive

__all__ = [
    "ensemble_lower_bound",
    "ensemble_mean",
    "ensemble_median",
    "ensemble_min",
    "lagrangian",
    "logit_of_product",
    "minimum",
    "normalise_then_sum",
    "raw_sum",
    "soft_minimum",
    "update_multipliers",
    "weighted_sum",
]


def raw_sum(rewards: Mapping[str, Tensor]) -> Tensor:
    """sum_i r_i, the customary combination: a surplus in one property buys off a deficit in another.

    Args:
        rewards: Per property, all of one shape.

    Raises:
        ValueError: No property, shapes differ, or a value is not finite.

    >>> raw_sum({"a": torch.tensor([1.0]), "b": torch.tensor([2.0])})
    tensor([3.])
    """
    # In their order: `sum(0)` of a stack may add in another.
    return reduce(torch.add, _checked("rewards", rewards).values())


def weighted_sum(utilities: Mapping[str, Tensor], weights: Mapping[str, Number]) -> Tensor:
    """sum_i w_i u_i. With log-sigmoids only all weights 1 is the AND; others temper.

    Args:
        utilities: Per property, all of one shape.
        weights: One finite weight for each of the properties.

    Raises:
        ValueError: As in `raw_sum`, or the weights are not for exactly these properties.
    """
    values = _checked("utilities", utilities)
    numbers = _for_properties("weights", weights, values)
    return reduce(torch.add, [numbers[name] * value for name, value in values.items()])


def minimum(utilities: Mapping[str, Tensor]) -> Tensor:
    """min_i u_i: only the worst property counts and only it has a gradient. Arguments and errors as in `raw_sum`."""
    return torch.stack(list(_checked("utilities", utilities).values())).amin(0)


def soft_minimum(utilities: Mapping[str, Tensor], *, temperature: Number = 1.0) -> Tensor:
    """-T log sum_i exp(-u_i / T): below the minimum by at most T log(number of properties); T -> 0 is the minimum.

    Args:
        utilities: Per property, all of one shape.
        temperature: T, above 0, in the unit of the utilities.

    Raises:
        ValueError: As in `raw_sum`, or temperature not above 0.
    """
    temperature = require_positive("temperature", temperature)
    stacked = torch.stack(list(_checked("utilities", utilities).values()))
    return -temperature * torch.logsumexp(-stacked / temperature, dim=0)


def logit_of_product(margins: Mapping[str, Tensor]) -> Tensor:
    """logit of prod_i sigma(z_i): the AND without diminishing utility; it grows without bound as all become certain.

    Args:
        margins: Per property r - r_ref, all of one shape.

    Raises:
        ValueError: As in `raw_sum`.
    """
    log_all: Tensor | None = None
    log_some_fail: Tensor | None = None
    for margin in _checked("margins", margins).values():
        good, bad = F.logsigmoid(margin), F.logsigmoid(-margin)
        # P(some fail) = P(fails before) + P(all good before) P(this fails): sums only, so nothing cancels.
        log_some_fail = (
            bad if log_all is None or log_some_fail is None else torch.logaddexp(log_some_fail, log_all + bad)
        )
        log_all = good if log_all is None else log_all + good
    assert log_all is not None
    assert log_some_fail is not None
    return log_all - log_some_fail


def lagrangian(
    rewards: Mapping[str, Tensor],
    objective: str,
    multipliers: Mapping[str, Number],
    thresholds: Mapping[str, Number],
) -> Tensor:
    """r_objective + sum_i lambda_i (r_i - threshold_i) over the constrained properties.

    The constraints hold on average over prompts, where the formula acts on each response.

    Args:
        rewards: Per property, all of one shape.
        objective: The property to maximise.
        multipliers: lambda_i >= 0 for every other property; see `update_multipliers`.
        thresholds: For the same properties.

    Raises:
        ValueError: As in `weighted_sum`, an unknown objective, or a negative multiplier.

    Source:
        Moskovitz et al. 2023, arXiv:2310.04373.
    """
    values = _checked("rewards", rewards)
    if objective not in values:
        raise ValueError(f"objective must be one of {', '.join(values)}, got {objective!r}")
    constrained = {name: value for name, value in values.items() if name != objective}
    prices = _multipliers(_for_properties("multipliers", multipliers, constrained))
    limits = _for_properties("thresholds", thresholds, constrained)
    total = values[objective]
    for name, value in constrained.items():
        total = total + prices[name] * (value - limits[name])
    return total


def update_multipliers(
    multipliers: Mapping[str, Number],
    rewards: Mapping[str, Tensor],
    thresholds: Mapping[str, Number],
    *,
    learning_rate: Number = 0.1,
) -> dict[str, float]:
    """One step of dual descent: lambda_i <- max(0, lambda_i - rate * (mean r_i - threshold_i)).

    Args:
        multipliers: lambda_i >= 0.
        rewards: Of the constrained properties over a batch; others are ignored.
        thresholds: For the properties of `multipliers`.
        learning_rate: Above 0.

    Raises:
        ValueError: A property is missing, a multiplier is negative, a value is not finite, or the rate is not above 0.
    """
    rate = require_positive("learning_rate", learning_rate)
    missing = [name for name in multipliers if name not in rewards]
    if missing:
        raise ValueError(f"rewards lack {', '.join(missing)}, which have a multiplier")
    values = _checked("rewards", {name: rewards[name] for name in multipliers})
    limits = _for_properties("thresholds", thresholds, values)
    prices = _multipliers(multipliers)
    return {
        name: max(0.0, prices[name] - rate * (float(value.detach().double().mean()) - limits[name]))
        for name, value in values.items()
    }


def normalise_then_sum(rewards: Mapping[str, Tensor], *, epsilon: Number = 1e-4) -> Tensor:
    """Advantages sum_i (r_i - group mean_i) / (group std_i + epsilon), the prompt's samples being the group (GDPO).

    The opposite of an AND: a property that every sample satisfies counts as much as one that none does. For ablations
    with raw rewards; `guards.refuse_group_std` refuses it for log-sigmoids.

    Args:
        rewards: Per property [prompts, samples], at least 2 samples.
        epsilon: Above 0.

    Raises:
        ValueError: As in `raw_sum`, fewer than 2 samples, or epsilon not above 0.

    Source:
        GDPO, arXiv:2601.05242.
    """
    epsilon = require_positive("epsilon", epsilon)
    values = _checked("rewards", rewards)
    total: Tensor | None = None
    for name, value in values.items():
        require_shape(f"rewards[{name!r}]", value, 2, "[prompts, samples]")
        if value.shape[1] < 2:
            raise ValueError(f"rewards[{name!r}] must hold at least 2 samples per prompt, got {value.shape[1]}")
        advantage = (value - value.mean(1, keepdim=True)) / (value.std(1, keepdim=True) + epsilon)
        total = advantage if total is None else total + advantage
    assert total is not None
    return total


def _checked(argument: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values in float, of one dtype; at least one property, one shape, all finite."""
    if not values:
        raise ValueError(f"{argument} must hold at least one property, got none")
    first_name, first = next(iter(values.items()))
    for name, value in values.items():
        require_same_shape(f"{argument}[{name!r}]", value, f"{argument}[{first_name!r}]", first)
        require_samples(f"{argument}[{name!r}]", value)
        require_finite(f"{argument}[{name!r}]", value)
    floats = {name: in_float(value) for name, value in values.items()}
    has_double = any(value.dtype == torch.float64 for value in floats.values())
    return {name: value.double() for name, value in floats.items()} if has_double else floats


def _for_properties(argument: str, numbers: Mapping[str, Number], values: Mapping[str, Tensor]) -> dict[str, float]:
    """The numbers, one finite number for exactly the given properties."""
    if set(numbers) != set(values):
        raise ValueError(
            f"{argument} must be given for exactly {', '.join(sorted(values)) or 'no property'}, "
            f"got {', '.join(sorted(numbers)) or 'none'}"
        )
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"{argument}[{name!r}] must be finite, got {number}")
    return {name: float(number) for name, number in numbers.items()}


def _multipliers(multipliers: Mapping[str, Number]) -> dict[str, float]:
    for name, multiplier in multipliers.items():
        if not (math.isfinite(multiplier) and multiplier >= 0):
            raise ValueError(f"multipliers[{name!r}] must be finite and at least 0, got {multiplier}")
    return {name: float(multiplier) for name, multiplier in multipliers.items()}
