"""Who sets gamma, the KL coefficient: nobody, a proportional controller, or one that seeks a target KL.

A controller holds its state, is told the measured sequence KL after every update, and is checkpointed through
`state_dict` and `load_state_dict`: plain numbers, so that a resumed run continues with the same gamma, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from allgood.number_checks import Number, require_positive


class KlController(Protocol):
    """Anything that sets gamma."""

    @property
    def coefficient(self) -> float:
        """gamma for the next update."""
        ...

    def update(self, kl: Number, *, num_responses: int) -> None:
        """Take note of the mean sequence KL (nats, k1) measured over `num_responses` responses."""
        ...

    def state_dict(self) -> dict[str, float]:
        """Everything that changes."""
        ...

    def load_state_dict(self, state: Mapping[str, Number]) -> None:
        """Continue from a `state_dict`."""
        ...


@dataclass
class FixedController:
    """gamma never changes."""

    coefficient: Number

    def __post_init__(self) -> None:
        self.coefficient = require_positive("coefficient", self.coefficient)

    def update(self, kl: Number, *, num_responses: int) -> None:
        """Refuse a KL that is no number; otherwise nothing."""
        _check(kl, num_responses)

    def state_dict(self) -> dict[str, float]:
        """The coefficient."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, Number]) -> None:
        """Continue from a `state_dict`. ValueError when a key is missing or unknown."""
        (self.coefficient,) = _values(state, "coefficient")


@dataclass
class AdaptiveController:
    """Proportional control: gamma is multiplied by 1 + clip((KL - target) / target, +-0.2) * num_responses / horizon.

    Args:
        coefficient: The first gamma.
        target: Sequence KL in nats.
        horizon: Responses over which an error at the clip changes gamma by 20 %. Larger updates count as this many.

    Source:
        Ziegler et al. 2019, arXiv:1909.08593, section 2.2.
    """

    coefficient: Number
    target: Number
    horizon: int = 10_000

    def __post_init__(self) -> None:
        self.coefficient = require_positive("coefficient", self.coefficient)
        self.target = require_positive("target", self.target)
        require_positive("horizon", self.horizon)

    def update(self, kl: Number, *, num_responses: int) -> None:
        """Move gamma up when the measured KL is above the target, down when below."""
        _check(kl, num_responses)
        error = min(max(kl / self.target - 1.0, -0.2), 0.2)
        self.coefficient *= 1.0 + error * min(num_responses / self.horizon, 1.0)

    def state_dict(self) -> dict[str, float]:
        """The coefficient; target and horizon are configuration."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, Number]) -> None:
        """Continue from a `state_dict`. ValueError when a key is missing or unknown."""
        (self.coefficient,) = _values(state, "coefficient")


@dataclass
class TargetKlController:
    """Seeks the gamma at which the KL is `target`: log gamma rises by rate * log(smoothed KL / target).

    With Gaussian utilities KL is proportional to gamma^-2, so rate 1/2 would be Newton's step if the policy followed at
    once; it does not, hence the smaller default. One update moves gamma by at most a factor e^rate.

    Args:
        coefficient: The first gamma.
        target: Sequence KL in nats.
        rate: In (0, 1].
        smoothing: Weight of the past in the running mean of the KL, in [0, 1).
    """

    coefficient: Number
    target: Number
    rate: Number = 0.1
    smoothing: Number = 0.9
    average: Number = math.nan  # running mean of the measured KL; NaN before the first

    def __post_init__(self) -> None:
        self.coefficient = require_positive("coefficient", self.coefficient)
        self.target = require_positive("target", self.target)
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must lie in (0, 1], got {self.rate}")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must lie in [0, 1), got {self.smoothing}")

    def update(self, kl: Number, *, num_responses: int) -> None:
        """Move gamma towards the one that holds the target."""
        _check(kl, num_responses)
        old = kl if math.isnan(self.average) else self.average
        self.average = self.smoothing * old + (1.0 - self.smoothing) * kl
        # A measured KL may be 0 or below by noise: then the step is the largest one.
        ratio = max(self.average / self.target, math.exp(-1.0))
        self.coefficient *= math.exp(self.rate * min(math.log(ratio), 1.0))

    def state_dict(self) -> dict[str, float]:
        """Coefficient and running mean."""
        return {"coefficient": self.coefficient, "average": self.average}

    def load_state_dict(self, state: Mapping[str, Number]) -> None:
        """Continue from a `state_dict`. ValueError when a key is missing or unknown, or the average is infinite."""
        coefficient, average = _values(state, "coefficient", "average")
        if math.isinf(average):
            raise ValueError(f"average must be a finite number of nats, or NaN before the first, got {average}")
        self.coefficient, self.average = coefficient, average


def _check(kl: Number, num_responses: int) -> None:
    if not math.isfinite(kl):
        raise ValueError(f"kl must be a finite number of nats, got {kl}")
    if num_responses < 1:
        raise ValueError(f"num_responses must be at least 1, got {num_responses}")


def _values(state: Mapping[str, Number], *keys: str) -> tuple[float, ...]:
    if set(state) != set(keys):
        raise ValueError(f"state must hold exactly {', '.join(keys)}, got {', '.join(sorted(state)) or 'nothing'}")
    require_positive("coefficient", state["coefficient"])
    return tuple(float(state[key]) for key in keys)
