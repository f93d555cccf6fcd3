"""What a diagnosis found: coordinates with intervals, contrasts with their basis, and what cannot be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from allgood.diagnosis.tails import Tail
from allgood.intervals import Interval

Question = Literal["transform", "rival", "reference", "aggregation"]
Basis = Literal["samples", "calculation"]
Verdict = Literal["hardly", "a little ahead", "ahead", "a little behind", "behind", "unclear"]

KLS = (1.0, 2.0, 4.0)
"""Nats at which a diagnosis answers."""
HARDLY = 0.02
"""All-good rates that differ by no more are called equal, as on the map."""
MUCH = 0.05
"""From here on a difference is more than a little; the interval of what is called equal stays below it."""


@dataclass(frozen=True)
class JudgedCoordinates:
    """Of one property, against its judge.

    Attributes:
        good: P(good) of pi_0's samples.
        agreement: Correlation of reward and judge within prompts.
        l_kurtosis: Of the errors; None where there are none to speak of.
        tail: What that says.
        overrated: Share of answers overrated by more than `overrated_from` spreads, less those underrated as far.
        overrated_from: In spreads of the judge.
        room: Mean excess of good responses over the bar, in spreads.
        room_of_normal: The same of normal scores with these bars.
        ceiling: Where scores would have to end for that, in spreads above the bar; None where no end shows.
    """

    good: Interval
    agreement: Interval
    l_kurtosis: Interval | None
    tail: Tail | None
    overrated: Interval
    overrated_from: float
    room: Interval
    room_of_normal: float
    ceiling: float | None

    @property
    def overrates(self) -> bool:
        """Whether overrated answers show in these samples."""
        return self.overrated.low > 0


@dataclass(frozen=True)
class PropertyCoordinates:
    """Of one property: median over prompts of its rewards' spread within prompts, in nats, and what its judge says."""

    name: str
    spread: Interval
    judged: JudgedCoordinates | None


@dataclass(frozen=True)
class PairCoordinates:
    """Of two properties: correlation within prompts of their rewards, and of their judges' scores."""

    first: str
    second: str
    rewards: Interval
    judges: Interval | None


@dataclass(frozen=True)
class Coordinates:
    """Where a run lies on the map.

    Attributes:
        properties: One by one.
        pairs: Of properties.
        between_prompts: Standard deviation of the log of the spread that properties share, without sampling noise.
        mixed: The same of what each property has to itself; None for one property.
        ratio: Spread of the widest over the narrowest property; None for one property.
    """

    properties: tuple[PropertyCoordinates, ...]
    pairs: tuple[PairCoordinates, ...]
    between_prompts: Interval
    mixed: Interval | None
    ratio: Interval | None


@dataclass(frozen=True)
class Contrast:
    """A difference of all-good rates at one KL.

    Attributes:
        kl: Mean over prompts, in nats.
        question: transform (LSC sum minus raw sum), rival (minus the best z-scored or capped sum), reference (LSC sum
            with the best other reference minus its own), or aggregation (minimum minus LSC sum).
        against: The other objective, in words.
        basis: The samples themselves, or coordinates and calculation.
        difference: With 95 % interval.
        all_good: The rate of the LSC sum there.
        correction: What is added to a calculated difference, because the samples differ by so much from as many of the
            calculated world; None where they show no such KL, or nothing was calculated.
    """

    kl: float
    question: Question
    against: str
    basis: Basis
    difference: Interval
    all_good: float
    correction: float | None = None

    @property
    def verdict(self) -> Verdict:
        """hardly: equal within `HARDLY`, its interval within `MUCH`; ahead or behind: an interval without 0."""
        found = self.difference
        if abs(found.value) <= HARDLY and found.low >= -MUCH and found.high <= MUCH:
            return "hardly"
        if found.low > 0:
            return "ahead" if found.value >= MUCH else "a little ahead"
        if found.high < 0:
            return "behind" if found.value <= -MUCH else "a little behind"
        return "unclear"


@dataclass(frozen=True)
class WhatIf:
    """LSC sum minus raw sum if as many answers were overrated as the samples could just hide.

    Attributes:
        kl: In nats.
        share: Of answers, the largest that would not show.
        difference: Of all-good rates.
    """

    kl: float
    share: float
    difference: float


@dataclass(frozen=True)
class Diagnosis:
    """Everything.

    Attributes:
        num_prompts: Prompts.
        num_samples: Per prompt.
        all_good: Rate of pi_0 itself; None without a judge.
        coordinates: None where the samples show none.
        supported_kl: Largest KL that the samples support, in nats, by arm in words.
        contrasts: At every KL of `KLS` that something can be said of.
        what_if: Where no overrated answers show.
        cannot: What cannot be said, and why.
    """

    num_prompts: int
    num_samples: int
    all_good: Interval | None
    coordinates: Coordinates | None
    supported_kl: dict[str, float]
    contrasts: tuple[Contrast, ...]
    what_if: tuple[WhatIf, ...]
    cannot: tuple[str, ...]

    def contrast(self, kl: float, question: Question) -> Contrast | None:
        """The answer to a question at a KL, if there is one."""
        found = [each for each in self.contrasts if (each.kl, each.question) == (kl, question)]
        return found[0] if found else None
