"""How references of prompts that a run never sampled come from fresh samples of its pi_0."""

from __future__ import annotations

from typing import assert_never

from allgood.scorers.rewards_spec import Estimator, SamplesSpec, StartPolicySpec
from pipelines.cast.collect import purpose_seed
from pipelines.cast.request import rollout_spec
from pipelines.config.references import (
    CannedReference,
    ConstantReference,
    DatasetReference,
    DrawsReference,
    MeanReference,
    MedianReference,
    NoReference,
    PredictedReference,
    QuantileReference,
    Reference,
)
from pipelines.config.run import RunConfig


def samples_spec(reference: Reference) -> SamplesSpec | None:
    """What a reference makes of the rewards of fresh samples; None where it needs none.

    As for any prompt that no data hold, the mean stands for the responses of the data.
    """
    match reference:
        case MeanReference() | DatasetReference():
            return SamplesSpec("mean")
        case MedianReference():
            return SamplesSpec("median")
        case QuantileReference():
            method: Estimator = "gaussian_quantile" if reference.method == "gaussian" else "empirical_quantile"
            return SamplesSpec(method, quantile=reference.quantile)
        case PredictedReference():
            return SamplesSpec("gaussian_quantile", quantile=reference.quantile)
        case DrawsReference():
            return SamplesSpec("draws", num=reference.num)
        case NoReference() | ConstantReference() | CannedReference():
            return None
        case _:
            assert_never(reference)


def start_policy_spec(config: RunConfig) -> StartPolicySpec:
    """pi_0 with the run's limits, number of samples and seed; `source` is where it lies now."""
    policy = rollout_spec(config)
    return StartPolicySpec(
        source=policy.model,
        num_samples=config.references.num_samples,
        seed=purpose_seed(config.seed, "references"),
        max_new_tokens=policy.max_new_tokens,
        max_prompt_tokens=policy.max_prompt_tokens,
        stop=policy.stop,
        device=policy.device,
        dtype=policy.dtype,
    )
