"""What a run sees of one property's rewards: r, r_ref, z, u, and how probably each response is good.

A view is what the central act (`allgood.treatment.treat`) makes of raw rewards and what an objective
(`allgood.objectives`) combines. It knows where P(good) is read, so that nobody needs the configuration again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

GoodFrom = Literal["margin", "log_prob", "rounded_log_prob"]
"""Where P(good) is read: sigma(z), or exp(u) of a log-probability that was computed in log space, or of one that came
as the logarithm of a rounded probability.
"""

# Log-odds that stand for log P = 0. What is computed in log space ends at the smallest float32. A rounded probability
# ends at the last one below 1, which is 1 - 6e-8: larger odds would be made of rounding alone, and log P(not good) is
# minus these odds.
MOST_ODDS = -math.log(np.finfo(np.float32).tiny)
MOST_ROUNDED_ODDS = -math.log(np.finfo(np.float32).eps / 2)


@dataclass(frozen=True)
class PropertyView:
    """One property's numbers, float32 of one shape: [rows], or [prompts, samples]. A failed score is NaN, never 0.

    Attributes:
        rewards: Raw r; it may be known where the prompt has no reference, and then only it is.
        references: r_ref of the response's prompt.
        margins: z = (r - r_ref) / temperature.
        utilities: u, after the transform.
        good_from: Where P(good) is read.
    """

    rewards: FloatArray
    references: FloatArray
    margins: FloatArray
    utilities: FloatArray
    good_from: GoodFrom = "margin"

    @property
    def log_odds(self) -> NDArray[np.float64]:
        """Log-odds of "good" in float64, finite but for NaN: z, or where the transform itself gives log P those of P.

        Of the log-sigmoid it is z, which is exact where log P rounds to 0.
        """
        if self.good_from == "margin":
            return self.margins.astype(np.float64)
        log_prob = np.minimum(self.utilities.astype(np.float64), 0.0)
        with np.errstate(divide="ignore"):  # log P = 0 gives infinite odds
            odds = log_prob - np.log(-np.expm1(log_prob))
        most = MOST_ODDS if self.good_from == "log_prob" else MOST_ROUNDED_ODDS
        finite: NDArray[np.float64] = np.minimum(odds, most)
        return finite

    @property
    def p_good(self) -> NDArray[np.float64]:
        """P(good): what a transform to log P says; for the others sigma(z), as by the log-sigmoid.

        Of a classifier the margin is log P itself, and of draws it is taken from their mean: sigma would be another
        number.
        """
        if self.good_from == "margin":
            return 0.5 * (1.0 + np.tanh(0.5 * self.margins.astype(np.float64)))
        return np.exp(self.utilities.astype(np.float64))

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Where there is no utility: scoring failed, or the prompt has no reference."""
        return ~np.isfinite(self.utilities)

    def flat(self) -> PropertyView:
        """The same with one number per row, prompt by prompt."""
        return PropertyView(
            self.rewards.ravel(), self.references.ravel(), self.margins.ravel(), self.utilities.ravel(), self.good_from
        )

    @staticmethod
    def concatenated(parts: Sequence[PropertyView]) -> PropertyView:
        """The views of several chunks as one, in their order; all of one property."""
        return PropertyView(
            np.concatenate([part.rewards for part in parts]),
            np.concatenate([part.references for part in parts]),
            np.concatenate([part.margins for part in parts]),
            np.concatenate([part.utilities for part in parts]),
            parts[0].good_from,
        )
