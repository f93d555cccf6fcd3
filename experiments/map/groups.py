"""The cells of the map, in groups: slices along one or two coordinates through a few worlds.

Not a full product: every claim of the page has its cells. A group is computed and stored as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from allgood.idealised.cells import Cell, Errors, along

OVERRATED = Errors("overrated", size=4, rate=0.01)
LAPLACE = Errors("laplace", size=0.5)
NORMAL = Errors("normal", size=0.5)

PLAIN = Cell()
DIFFERENT = Cell(between_prompts=0.5, mixed=0.5)
RARE = Cell(errors=OVERRATED)
BOTH = replace(DIFFERENT, errors=OVERRATED)
WORLDS = {
    "alike": PLAIN,
    "different spreads": DIFFERENT,
    "1 % overrated": RARE,
    "different spreads, 1 % overrated": BOTH,
}
"""The worlds that the slices pass through: everything alike and exact, either trouble, and both."""

PROPERTIES = (1, 2, 3, 5)
SIGMAS = (0.0, 0.25, 0.5, 0.75, 1.0)
GRID_SIGMAS = (0.0, 0.5, 1.0)
RATIOS = (1.0, 1.5, 2.0, 4.0, 8.0)
CORRELATIONS = (-0.6, -0.34, 0.0, 0.3, 0.6, 0.9)
NORMAL_SIZES = (0.25, 0.5, 1.0, 2.0)
LAPLACE_SIZES = (0.25, 0.5, 1.0)
ERRORS_OF_DIFFERENT = (
    NORMAL,
    Errors("normal", size=1.0),
    LAPLACE,
    Errors("overrated", size=4, rate=0.1),
    Errors("underrated", size=4, rate=0.1),
)
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
RARE_SIZES = (2.0, 4.0, 6.0)
CEILINGS = (0.25, 0.5, 1.0, 2.0, None)
SPREADS = (0.25, 0.5, 1.0, 1.5, 2.5, 4.0)
REFERENCES = (0.5, 0.7, 0.85, 0.95)
SCALES = (0.25, 0.5, 2.0, 4.0)


@dataclass(frozen=True)
class Group:
    """Cells that are computed and stored together."""

    name: str
    cells: tuple[Cell, ...]


def groups() -> tuple[Group, ...]:
    """All of them; a cell may stand in several."""
    both_errors = (Errors(), OVERRATED)
    return (
        Group("worlds", (*WORLDS.values(), Cell(errors=LAPLACE), replace(DIFFERENT, errors=LAPLACE))),
        Group("first_estimates", first_estimates()),
        Group("properties", _through([PLAIN, RARE, DIFFERENT], "properties", PROPERTIES)),
        Group("between_prompts", _through([PLAIN, RARE], "between_prompts", SIGMAS)),
        Group("mixed", _through([PLAIN, RARE], "mixed", SIGMAS)),
        Group("ratio", _through([PLAIN, RARE], "ratio", RATIOS)),
        Group("spreads", tuple(Cell(between_prompts=a, mixed=b) for a, b in product(GRID_SIGMAS, GRID_SIGMAS))),
        Group("correlation", _through([PLAIN, RARE], "correlation", CORRELATIONS)),
        Group("correlation_different", _through([DIFFERENT], "correlation", (-0.34, 0.6))),
        Group("errors", tuple(Cell(errors=error) for error in errors())),
        Group("errors_different", tuple(replace(DIFFERENT, errors=e) for e in ERRORS_OF_DIFFERENT)),
        Group("overrated", tuple(Cell(errors=Errors("overrated", s, r)) for s, r in product(RARE_SIZES, RATES))),
        Group("ceiling", _through([PLAIN, RARE, DIFFERENT], "ceiling", CEILINGS)),
        Group("scale", _through([*WORLDS.values(), Cell(errors=NORMAL)], "spread", SPREADS)),
        Group("wrong_scale", tuple(wrong_scale(a, e) for a, e in product(SCALES, both_errors))),
        Group("reference", _through(list(WORLDS.values()), "reference", REFERENCES)),
        Group("absolute", absolute()),
    )


def errors() -> tuple[Errors, ...]:
    """Sizes, tails, signs; each of one property, and shared by both."""
    own = (
        *(Errors("normal", size) for size in NORMAL_SIZES),
        *(Errors("laplace", size) for size in LAPLACE_SIZES),
        *(Errors("overrated", 4, rate) for rate in (0.01, 0.1)),
        *(Errors("underrated", 4, rate) for rate in (0.01, 0.1)),
    )
    return (*own, *(replace(error, shared=True) for error in own if error.kind != "laplace"))


def wrong_scale(factor: float, error: Errors) -> Cell:
    """The plain world, but the rewards of one of two properties are `factor` times as large."""
    return Cell(spread=1.5 * factor**0.5, ratio=max(factor, 1 / factor), errors=error)


def absolute() -> tuple[Cell, ...]:
    """One bar in nats for all prompts, of different spread, so that some are hard; and the reference there, or not."""
    return tuple(
        Cell(between_prompts=0.5, errors=error, absolute_bar=True, absolute_reference=at_bar)
        for error, at_bar in product((Errors(), OVERRATED), (False, True))
    )


def first_estimates() -> tuple[Cell, ...]:
    """Worlds of the estimates by sampling that this map began with; spreads end late."""
    spread = Cell(cut=4.0)
    worlds = (
        replace(spread, mixed=0.7),
        replace(spread, between_prompts=0.7),
        replace(spread, between_prompts=0.7, mixed=0.7),
    )
    # Spreads that end late have no limit with Laplace errors: see Cell.cut.
    return (Cell(errors=LAPLACE), *worlds, *(replace(world, errors=OVERRATED) for world in worlds))


def _through(worlds: Sequence[Cell], coordinate: str, values: Sequence[object]) -> tuple[Cell, ...]:
    return tuple(cell for world in worlds for cell in along(world, coordinate, values))
