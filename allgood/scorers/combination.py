"""How several reward models become one: which number of the members' rewards counts.

These are values that a configuration validates into; `ensemble` computes them. `metadata` holds limits and words in the
form that pydantic reads, so that nobody repeats them and nothing here imports it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Mean:
    """The mean of the members' rewards."""

    kind: Literal["mean"] = field(default="mean", kw_only=True)


@dataclass(frozen=True)
class Median:
    """The median of the members' rewards."""

    kind: Literal["median"] = field(default="median", kw_only=True)


@dataclass(frozen=True)
class Min:
    """The lowest of the members' rewards."""

    kind: Literal["min"] = field(default="min", kw_only=True)


@dataclass(frozen=True)
class LowerBound:
    """Mean minus `penalty` standard deviations of the members' rewards: disagreement costs."""

    kind: Literal["lower_bound"] = field(default="lower_bound", kw_only=True)
    penalty: float = field(
        default=1.0, metadata={"ge": 0, "description": "standard deviations subtracted from the mean"}
    )


Combination = Mean | Median | Min | LowerBound
