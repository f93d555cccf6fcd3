"""r_ref of prompts that nobody sampled before, from rewards of fresh samples of pi_0 on them.

Whoever has a policy draws the samples. The estimators are those of `allgood reference`: equal rewards give the number
of its table, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from allgood import references
from allgood.references import Estimate
from allgood.scorers.reference_files import FloatRow, References
from allgood.scorers.rewards_spec import SamplesSpec


def reference_of_samples(samples: SamplesSpec, prompt_id: str, rewards: FloatRow) -> References:
    """r_ref of a prompt from rewards [samples] of samples on it, NaN where scoring failed.

    Empty where too few are known: 1 for the mean, `num` for draws, 2 for the rest.

    >>> reference_of_samples(SamplesSpec("mean"), "tea", np.float32([1.0, 3.0, np.nan])).values
    {'tea': 2.0}
    """
    scored = rewards[np.isfinite(rewards)][: samples.num]  # random draws are the first ones, as samples are independent
    estimate, at_least = _estimator(samples)
    [value] = references.of_scored(estimate, scored[None].astype(np.float64), at_least=at_least)
    if not np.isfinite(value):
        return References({})
    return References({prompt_id: float(value)}, {} if samples.num is None else {prompt_id: scored})


def merged(parts: Sequence[References]) -> References:
    """References of all prompts of several parts."""
    return References(
        {key: value for part in parts for key, value in part.values.items()},
        {key: draws for part in parts for key, draws in part.draws.items()},
    )


def _estimator(samples: SamplesSpec) -> tuple[Callable[[Tensor], Estimate], int]:
    """An estimator, and the rewards that it needs."""
    match samples.estimator:
        case "mean":
            return references.mean, 1
        case "median":
            return references.median, 2
        case "gaussian_quantile" | "empirical_quantile":
            assert samples.quantile is not None, "a `SamplesSpec` without one is refused"
            is_gaussian = samples.estimator == "gaussian_quantile"
            estimate = references.gaussian_quantile if is_gaussian else references.empirical_quantile
            return partial(estimate, quantile=samples.quantile), 2
        case "draws":
            assert samples.num is not None, "a `SamplesSpec` without one is refused"
            return references.mean, samples.num
