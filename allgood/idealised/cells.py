"""What a cell of the map is: the coordinates of an idealised world.

On every prompt a response has K gold values, standard normal under pi_0 (their unit is "a spread"); a ceiling may end
them. A reward is the prompt's spread in nats times (gold + the reward model's error). A response is good in a property
when its gold is above the bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from allgood.number_checks import Number

ErrorKind = Literal["none", "normal", "laplace", "overrated", "underrated", "student"]

BARS = (0.5, 0.7, 0.85, 0.95)
"""Quantiles of gold under pi_0 that a good response exceeds; every cell is measured at all of them."""
MAIN_BAR = 0.85
TARGET_KLS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # nats


@dataclass(frozen=True)
class Errors:
    """What a reward model adds to gold, in spreads.

    Attributes:
        kind: Of every answer (normal, laplace, student: t with 3 degrees of freedom, which can only be sampled), or of
            few: overrated or underrated by size/2 to 3/2 size.
        size: Standard deviation, or the mean size of the rare error.
        rate: Share of the answers that have the rare error.
        shared: One error for all properties of an answer, as one bias of the raters would cause.
    """

    kind: ErrorKind = "none"
    size: Number = 0.0
    rate: Number = 0.01
    shared: bool = False


@dataclass(frozen=True)
class Cell:
    """One world.

    Attributes:
        properties: K.
        spread: Median over prompts of the rewards' spread within a prompt, in nats, without errors.
        between_prompts: Standard deviation of the log of a factor of the spread per prompt.
        mixed: The same per prompt and property: which property has the wide spread differs from prompt to prompt.
        cut: Standard deviations at which both factors end. Without an end the widest prompt of an endless population
            would take all KL of a raw sum whose errors have exponential tails.
        ratio: Spread of the widest over that of the narrowest property, the same on all prompts.
        correlation: Of gold between properties, given the prompt; below 0 for two properties only.
        errors: Of the reward models.
        ceiling: Gold ends this many spreads above its 85 % quantile; None for no end.
        reference: Quantile of pi_0's rewards on the prompt that serves as r_ref.
        absolute_bar: The bar is one gold value in nats for all prompts, its mean share of good responses as said.
        absolute_reference: r_ref is that bar at 85 %, in nats, instead of a quantile.
    """

    properties: int = 2
    spread: Number = 1.5
    between_prompts: Number = 0.0
    mixed: Number = 0.0
    cut: Number = 2.0
    ratio: Number = 1.0
    correlation: Number = 0.0
    errors: Errors = Errors()
    ceiling: Number | None = None
    reference: Number = 0.85
    absolute_bar: bool = False
    absolute_reference: bool = False

    def __post_init__(self) -> None:
        """Refuse what has no such world.

        Raises:
            ValueError: A correlation that K properties cannot share, or an absolute bar with shared parts.
        """
        if not -1 < self.correlation < 1 or (self.correlation < 0 and self.properties != 2):
            raise ValueError(f"correlation {self.correlation} is not possible for {self.properties} properties")
        if self.absolute_bar and (self.correlation or self.errors.shared or self.ceiling is not None):
            raise ValueError("an absolute bar is computed for independent properties without ceiling only")
        if self.absolute_reference and not self.absolute_bar:
            raise ValueError("an absolute reference lies at the absolute bar; set absolute_bar too")


def along(world: Cell, coordinate: str, values: Sequence[Any]) -> tuple[Cell, ...]:
    """The cells that differ from `world` in one coordinate."""
    changes: list[dict[str, Any]] = [{coordinate: value} for value in values]
    return tuple(replace(world, **change) for change in changes)
