"""The objectives that a diagnosis compares, as utilities of the samples, and their optima where samples reach.

The same arms, by the same names, are calculated from coordinates in `allgood.diagnosis.calculation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood import aggregation, transforms
from allgood.diagnosis.samples import DiagnosedSamples
from allgood.idealised.objectives import CAPPED, CAPPED_Z, LSC, MINIMUM, NO_CAP, RAW, TUNED_LSC, Z_SCORE
from allgood.tilting import solve_gamma, tilt

Floats = NDArray[np.float64]

CAPS = (0.8, 0.9, 0.95)
SUPPORT_KLS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # nats
REFERENCES = (0.5, 0.7, 0.85, 0.95)


@dataclass(frozen=True)
class Arm:
    """An objective, with the quantile of pi_0's rewards that it caps at or refers to; None where it has none."""

    objective: str
    parameter: float | None = None

    @property
    def in_words(self) -> str:
        """Such as "raw sum" or "capped sum (cap at the 90 % quantile)"."""
        if self.parameter is None:
            return self.objective
        place = "cap" if self.objective in (CAPPED, CAPPED_Z) else "references"
        name = LSC if self.objective == TUNED_LSC else self.objective
        return f"{name}, {place} at the {self.parameter:.0%} quantile".replace("%", " %")


OURS, PLAIN = Arm(LSC), Arm(RAW)
RIVALS = (Arm(Z_SCORE), *(Arm(CAPPED, cap) for cap in CAPS), *(Arm(CAPPED_Z, cap) for cap in CAPS))
"""Scale and tail without a log-sigmoid."""
OTHER_REFERENCES = tuple(Arm(TUNED_LSC, reference) for reference in REFERENCES)
AGGREGATIONS = (Arm(MINIMUM),)
ARMS = (OURS, PLAIN, *RIVALS, *OTHER_REFERENCES, *AGGREGATIONS)


def utilities(samples: DiagnosedSamples, arm: Arm) -> Tensor:
    """What an arm maximises, [prompts, samples]; quantiles are those of the prompt's own samples."""
    rewards = samples.rewards
    references = samples.references
    if arm.objective == TUNED_LSC and arm.parameter is not None:
        references = np.quantile(rewards, arm.parameter, axis=-1)
    if arm.objective in (CAPPED, CAPPED_Z) and arm.parameter not in (None, NO_CAP):
        rewards = np.minimum(rewards, np.quantile(rewards, arm.parameter, axis=-1, keepdims=True))
    if arm.objective in (Z_SCORE, CAPPED_Z):
        deviations = samples.rewards.std(-1, ddof=1, keepdims=True)
        rewards = rewards / np.where(deviations > 0, deviations, 1.0)  # what never varies weighs nothing either way
    values = {name: torch.from_numpy(rewards[place]) for place, name in enumerate(samples.names)}
    if arm.objective in (LSC, TUNED_LSC, MINIMUM):
        values = {
            name: transforms.log_sigmoid(value, torch.from_numpy(references[place]))
            for place, (name, value) in enumerate(values.items())
        }
    return aggregation.minimum(values) if arm.objective == MINIMUM else aggregation.raw_sum(values)


@dataclass(frozen=True)
class Reached:
    """An arm's optimum on samples: its all-good rate on every prompt, [prompts], and whether the samples support it."""

    all_good: Floats
    reliable: bool


def reached(samples: DiagnosedSamples, arms: Sequence[Arm], kl: float) -> Mapping[Arm, Reached]:
    """Optima at a mean KL; an arm that cannot reach it on these samples is left out."""
    good = torch.from_numpy(samples.is_good.all(0)).double()
    found = {}
    for arm in arms:
        values = utilities(samples, arm)
        try:
            optimum = tilt(values, solve_gamma(values, kl))
        except ValueError:  # beyond the reach: shapes and finiteness were checked
            continue
        found[arm] = Reached(optimum.expect(good).numpy(), optimum.reliable)
    return found


def supported_kl(samples: DiagnosedSamples, arm: Arm) -> float:
    """The largest KL of `SUPPORT_KLS` of which the samples show an arm's optimum reliably; 0 where none."""
    values = utilities(samples, arm)
    supported = 0.0
    for kl in SUPPORT_KLS:
        try:
            is_reliable = tilt(values, solve_gamma(values, kl)).reliable
        except ValueError:
            break
        if not is_reliable:
            break
        supported = kl
    return supported
