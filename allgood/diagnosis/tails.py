"""Whether errors have the tail of a normal or that of Student's t with 3 degrees of freedom.

Lines that were fitted on each prompt change the shape of what is left, the more the fewer samples: what either law
would show is simulated through the same fit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from allgood.diagnosis.errors import disagreement, l_kurtosis
from allgood.intervals import Interval
from allgood.number_checks import Number

Tail = Literal["normal", "between", "heavy", "unclear", "few values"]
"""few values: the judge gives many samples of a prompt the same score, and errors show the steps, not a tail."""

_ANSWERS = 200_000


def expected_l_kurtosis(num_samples: int, agreement: Number) -> tuple[float, float]:
    """What normal errors show, and what t(3) errors of the same size do.

    Args:
        num_samples: Per prompt.
        agreement: Correlation of reward and judge within prompts, above 0 and below 1.
    """
    generator = np.random.default_rng(0)
    shape = (_ANSWERS // num_samples, num_samples)
    scores = generator.standard_normal(shape)
    size = np.sqrt(1 / agreement**2 - 1)
    errors = (generator.standard_normal(shape), generator.standard_t(3, shape) / 3**0.5)
    normal, heavy = (l_kurtosis(disagreement(scores + size * error, scores).l_moments) for error in errors)
    return normal, heavy


def tail_of(found: Interval, expected: tuple[float, float]) -> Tail:
    """Which of the two laws the interval of an L-kurtosis agrees with: one, both (unclear) or neither (between)."""
    normal, heavy = expected
    is_normal, is_heavy = found.low <= normal, found.high >= heavy
    if is_normal and is_heavy:
        return "unclear"
    return "normal" if is_normal else "heavy" if is_heavy else "between"
