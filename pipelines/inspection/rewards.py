"""What rewards look like before a run: their range within and between prompts, and what looks wrong about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from actors.messages import FloatRow
from allgood.transform_facts import TransformFacts

_SMALLEST_STD, _LARGEST_STD = 0.05, 10.0  # nats within a prompt, between which a log-sigmoid tells answers apart
_PARITY = 1e-3  # relative to 1 + |reward|; allgood/scorers/parity.py goes by the spread of rewards


@dataclass(frozen=True)
class RewardRange:
    """Rewards of one property over samples of pi_0. Standard deviations are NaN with a single sample or prompt.

    Attributes:
        minimum, median, maximum: Over all samples that have a reward.
        std_within: Root mean square of the prompts' own standard deviations (ddof 1): what alignment learns from.
        std_between: Standard deviation of the prompts' means (ddof 1): what references take away.
        num_failed: Samples without a reward.
    """

    minimum: float
    median: float
    maximum: float
    std_within: float
    std_between: float
    num_failed: int


@dataclass(frozen=True)
class AloneAndTogether:
    """The reward of one answer when it is scored alone, and among answers of other lengths."""

    alone: float
    together: float

    @property
    def agree(self) -> bool:
        """Whether they are the same up to rounding."""
        return bool(abs(self.alone - self.together) <= _PARITY * (1.0 + abs(self.alone)))


def reward_range(rewards: FloatRow) -> RewardRange:
    """The range of rewards [prompts, samples]; NaN = failed.

    >>> found = reward_range(np.array([[1.0, 3.0], [2.0, 6.0]], dtype=np.float32))
    >>> found.minimum, found.median, found.maximum
    (1.0, 2.5, 6.0)
    >>> round(found.std_within, 4), round(found.std_between, 4)
    (2.2361, 1.4142)
    """
    known = rewards[np.isfinite(rewards)].astype(np.float64)
    if not known.size:
        nothing = float("nan")
        return RewardRange(nothing, nothing, nothing, nothing, nothing, int(rewards.size))
    rows = [row[np.isfinite(row)].astype(np.float64) for row in rewards]
    variances = [row.var(ddof=1) for row in rows if len(row) > 1]
    means = [row.mean() for row in rows if len(row)]
    return RewardRange(
        minimum=float(known.min()),
        median=float(np.median(known)),
        maximum=float(known.max()),
        std_within=float(np.sqrt(np.mean(variances))) if variances else float("nan"),
        std_between=float(np.std(means, ddof=1)) if len(means) > 1 else float("nan"),
        num_failed=int(rewards.size - known.size),
    )


def suspicions(found: RewardRange, facts: TransformFacts) -> Iterator[str]:
    """What looks wrong about rewards for the transform that they go through; a sentence each."""
    if found.num_failed:
        yield f"{found.num_failed} answers have no reward: their samples would be dropped"
    if not np.isfinite(found.median):
        return
    if found.maximum - found.minimum <= 1e-6 * (1.0 + abs(found.median)):
        yield (
            f"constant: every answer gets {found.median:.4g}, so nothing can be learned; look above at what the model "
            "reads, and whether its head was trained"
        )
        return
    if facts.expects == "log_probs" and found.maximum > 0:
        yield f"above 0 (up to {found.maximum:.4g}), but the transform {facts.name} expects log-probabilities"
    if facts.expects == "logits":
        yield from _unlike_logits(found)


def _unlike_logits(found: RewardRange) -> Iterator[str]:
    if found.minimum >= 0 and found.maximum <= 1:
        yield (
            f"squashed: all rewards lie in [0, 1] ({found.minimum:.4g} to {found.maximum:.4g}), as if a sigmoid were "
            "applied already, though it may be chance; a reward model should give logits"
        )
    elif found.std_within > _LARGEST_STD:
        yield (
            f"another scale: answers to a prompt differ by {found.std_within:.3g} nats (standard deviation), so that "
            "each is certainly good or certainly bad; divide by a temperature (`calibrate`), or choose a transform "
            "without a scale (`z_score`)"
        )
    elif found.std_within < _SMALLEST_STD:
        yield (
            f"another scale: answers to a prompt differ by only {found.std_within:.2g} nats (standard deviation), so "
            "that all are about equally good; was the reward divided, or is the head untrained?"
        )
