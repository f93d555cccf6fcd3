"""r_ref of prompts that nobody sampled before, from rewards of fresh samples of pi_0 on them.

Whoever has a policy draws the samples. The estimators are those of `allgood reference`: equal rewards give the number
of its table, to the bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import ClassVar

import numpy as np
from torch import Tensor

from allgood import references
from allgood.errors import ModelError
from allgood.references import Estimate
from allgood.scorers.reference_files import FloatRow, References
from allgood.scorers.rewards_spec import ReferenceFrom, SamplesSpec
from allgood.scorers.scorer import Scorer

_REMEMBERED = 65_536  # prompts

Sample = Callable[[str, str], Sequence[str]]
"""(prompt id, prompt) -> responses of pi_0, the same each time; a `ModelError` where nothing of the prompt fits."""


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


class FromSamples:
    """References of any prompt from fresh samples of pi_0, scored by the property's scorer.

    The last `num_remembered` prompts are kept, those that had too few scores too. Prompts are sampled one at a time. It
    pickles without what it remembers.
    """

    name: ClassVar[ReferenceFrom] = "samples"

    def __init__(
        self, sample: Sample, scorer: Scorer, samples: SamplesSpec, *, num_remembered: int = _REMEMBERED
    ) -> None:
        self.__setstate__((sample, scorer, samples, num_remembered))

    def __getstate__(self) -> tuple[Sample, Scorer, SamplesSpec, int]:
        return self._sample, self._scorer, self._samples, self._num_remembered

    def __setstate__(self, state: tuple[Sample, Scorer, SamplesSpec, int]) -> None:
        self._sample, self._scorer, self._samples, self._num_remembered = state
        self._remembered = lru_cache(self._num_remembered)(self._measured)
        self._lock = threading.Lock()

    def find(self, prompts: Mapping[str, str]) -> References:
        """See `ReferenceSource.find`. A prompt of which nothing fits the policy has none."""
        with self._lock:
            return merged([self._remembered(key, text) for key, text in prompts.items()])

    def _measured(self, prompt_id: str, prompt: str) -> References:
        try:
            responses = self._sample(prompt_id, prompt)
        except ModelError:
            return References({})
        rewards = self._scorer.score([prompt] * len(responses), responses).rewards
        return reference_of_samples(self._samples, prompt_id, rewards)


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
