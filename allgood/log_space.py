"""log P of a decision diagram, computed without ever subtracting probabilities.

Every node carries the pair (log P(true), log P(false)); each is a sum of products, so both keep their relative
accuracy. The result is read from the smaller of the two: near P = 1, log P = log(1 - P(false)).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from allgood.decision_diagram import FALSE, TRUE, Diagram


def log_probability(diagram: Diagram, margins: Sequence[Tensor]) -> Tensor:
    """log P(diagram is true) for margins [rows] of `diagram.names`, [rows]; the diagram has at least one question."""
    log_good = [F.logsigmoid(margin) for margin in margins]
    log_bad = [F.logsigmoid(-margin) for margin in margins]
    uses = Counter(child for question in diagram.questions for child in (question.low, question.high))
    pairs: dict[int, tuple[Tensor, Tensor]] = {}
    for node, question in enumerate(diagram.questions, start=2):
        good, bad = log_good[question.variable], log_bad[question.variable]
        pairs[node] = (
            _either(good, bad, question.high, question.low, pairs, side=0),
            _either(good, bad, question.high, question.low, pairs, side=1),
        )
        for child in (question.low, question.high):
            uses[child] -= 1
            if uses[child] == 0:
                pairs.pop(child, None)  # memory: only what a later question needs is kept
    log_true, log_false = pairs[diagram.root]
    return most_accurate(log_true, log_false)


def _either(
    good: Tensor, bad: Tensor, high: int, low: int, pairs: dict[int, tuple[Tensor, Tensor]], *, side: int
) -> Tensor:
    """log(P(good) P(high has this side) + P(bad) P(low has this side)); side 0 is true, 1 is false."""
    terms = [_times(branch, child, pairs, side) for branch, child in ((good, high), (bad, low))]
    possible = [term for term in terms if term is not None]
    return possible[0] if len(possible) == 1 else torch.logaddexp(*possible)


def _times(branch: Tensor, child: int, pairs: dict[int, tuple[Tensor, Tensor]], side: int) -> Tensor | None:
    """log(P(branch) P(child has this side)); None for 0."""
    if child in (FALSE, TRUE):
        return branch if (child == TRUE) == (side == 0) else None
    return branch + pairs[child][side]


def most_accurate(log_true: Tensor, log_false: Tensor) -> Tensor:
    """log P(true) from both logarithms, never above 0: where P is near 1, log1p(-P(false)) has the digits."""
    likely = log_true > log_false
    # The unused branch gets a harmless value, else its infinite slope times 0 would be NaN.
    rest = torch.where(likely, log_false, -1.0)
    return torch.where(likely, torch.log1p(-rest.exp()), log_true)
