"""The objectives that the study compares, as run configurations, and what some of them choose on validation prompts.

Weights and caps are chosen by gold all-good rate under the tilt of the start policy's samples, per target KL: the raw
sum in its fair form. LSC, PAR and logit of product keep the references of the run file.
"""

from __future__ import annotations

import numpy as np

from experiments.open_world.design import CAPPED, LOGIT, LSC, PAR, RAW, TUNED, Z_SCORE
from experiments.study.design import RATIOS
from pipelines.comparison.arms import lsc_sum, raw_sum
from pipelines.config.objectives import LogitOfProductObjective, Objective, WeightedSumObjective
from pipelines.config.properties import (
    CappedTransform,
    DrawsReference,
    LogSigmoidTransform,
    ModelProperty,
    PromptZScoreTransform,
    QuantileReference,
    Reference,
    SigmoidTransform,
    Transform,
)
from pipelines.config.run import RunConfig

CAPS = (0.8, 0.9, 0.95, 0.98)  # quantiles of pi_0's rewards on the prompt; above, the samples of a prompt are too few
NO_CAP = 1.0


def parameters_of(objective: str) -> tuple[float | None, ...]:
    """What is to choose from: ratios of weights, caps, or nothing."""
    return {TUNED: RATIOS, CAPPED: (*CAPS, NO_CAP)}.get(objective, (None,))


def with_parameter(config: RunConfig, objective: str, parameter: float | None) -> RunConfig:
    """The run of an objective with a parameter that was chosen."""
    if parameter is None:
        return _untuned(config)[objective]
    return {TUNED: weighted_sum, CAPPED: capped_sum}[objective](config, parameter)


def same_as(objective: str, parameter: float | None) -> str:
    """The objective whose training this one repeats bit for bit, itself if there is none.

    Equal weights are the raw sum, and so is a cap that was not wanted. Seed 3 of `strong` trained the raw sum with
    equal weights at 4 nats under both names: all numbers are equal.
    """
    return RAW if (objective, parameter) in {(TUNED, 1.0), (CAPPED, NO_CAP)} else objective


def _untuned(config: RunConfig) -> dict[str, RunConfig]:
    return {
        LSC: lsc_sum(config),
        RAW: raw_sum(config),
        Z_SCORE: _with(config, WeightedSumObjective(), PromptZScoreTransform(), _all_draws(config)),
        LOGIT: _with(config, LogitOfProductObjective(), LogSigmoidTransform()),
        PAR: _with(config, WeightedSumObjective(), SigmoidTransform()),
    }


def weighted_sum(config: RunConfig, ratio: float) -> RunConfig:
    """The raw sum whose first property weighs `ratio` times as much as the last, those between evenly spaced."""
    exponents = np.linspace(0.5, -0.5, len(config.properties))
    return raw_sum(config, weights=dict(zip(config.properties, (ratio**exponents).tolist(), strict=True)))


def capped_sum(config: RunConfig, cap: float) -> RunConfig:
    """The raw sum with each reward capped at a quantile of pi_0's rewards on the prompt, or not at all."""
    if cap == NO_CAP:
        return raw_sum(config)
    reference = QuantileReference(quantile=cap, method="empirical")
    return _with(config, WeightedSumObjective(), CappedTransform(), reference)


def _all_draws(config: RunConfig) -> DrawsReference:
    return DrawsReference(num=config.references.num_samples)


def _with(
    config: RunConfig, objective: Objective, transform: Transform, reference: Reference | None = None
) -> RunConfig:
    update: dict[str, object] = {"transform": transform} | ({"reference": reference} if reference is not None else {})
    properties = {
        name: setting.model_copy(update=update) if isinstance(setting, ModelProperty) else setting
        for name, setting in config.properties.items()
    }
    return config.model_copy(update={"objective": objective, "properties": properties})
