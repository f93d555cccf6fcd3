"""What the README's figure shows: gains over a raw sum at matched KL, calculated and trained, where they are stored.

Calculated ones are the map's, and what it says at the coordinates of measured reward models. Trained ones are those of
the embedded world and, for as many seeds as are stored, of the two points of the open world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from allgood.idealised.cells import TARGET_KLS, Cell, Errors
from allgood.idealised.objectives import CAPPED_Z, LSC, RAW
from experiments.map.figures import difference
from experiments.map.groups import BOTH, DIFFERENT, PLAIN, RARE
from experiments.map.real import Real
from experiments.map.stored import Map
from experiments.open_world import design
from experiments.open_world.analysis import Contrast, lsc_minus
from experiments.open_world.stored import Seed
from experiments.paper.section import both_good
from experiments.paper.stored import Result, difference_at
from experiments.paper.tables import MATCHED_KLS
from experiments.real_data.predicted import KLS


@dataclass(frozen=True)
class Line:
    """Calculated gains [(KL, difference of all-good rates)]; a rival's gain over a raw sum is drawn dashed."""

    label: str
    points: tuple[tuple[float, float], ...]
    is_rival: bool = False


@dataclass(frozen=True)
class Trained:
    """Trained gains, [(KL, mean, low, high)], with 95 % intervals."""

    label: str
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One half of the figure."""

    title: str
    lines: tuple[Line, ...]
    trained: tuple[Trained, ...]


@dataclass(frozen=True)
class Numbers:
    """What is stored: the map, measured reward models if any, seeds of the embedded and of the open world."""

    map: Map
    real: Real | None
    embedded: Sequence[Result]
    open_world: Mapping[design.Point, Sequence[Seed]]


def panels(numbers: Numbers) -> tuple[Panel, Panel]:
    """Where it matters, and where it hardly does."""
    found = numbers.map
    matters = Panel(
        "It matters from 1 or 2 nats on where spreads\nof rewards differ or a few answers are overrated",
        (
            _line(found, "log-sigmoid, different spreads", DIFFERENT),
            _line(found, "log-sigmoid, 1 % overrated", RARE),
            _line(found, "log-sigmoid, both", BOTH),
            _line(found, "log-sigmoid, all alike and exact", PLAIN),
            _line(found, "z-score with a tuned cap, both", BOTH, CAPPED_Z),
        ),
        _open_world(numbers, "strong"),
    )
    hardly = Panel(
        "It hardly does below that, with noisy or flat rewards,\nor where quality ends soon above the bar",
        (
            _line(found, "log-sigmoid, errors as wide as quality", Cell(errors=Errors("normal", 1.0))),
            _line(found, "log-sigmoid, quality ends soon above the bar", Cell(ceiling=0.5)),
            *(_measured(numbers.real) if numbers.real else ()),
        ),
        (*_embedded(numbers.embedded), *_open_world(numbers, "weak")),
    )
    return matters, hardly


def _line(found: Map, label: str, cell: Cell, objective: str = LSC) -> Line:
    values, trusted = difference(found, cell, objective, [RAW])
    kept = zip(TARGET_KLS, values, trusted, strict=True)
    return Line(label, tuple((kl, float(value)) for kl, value, is_known in kept if is_known), objective != LSC)


def _measured(real: Real) -> tuple[Line, ...]:
    lines = []
    for kind, model in real.judged["models"].items():
        rates = model["predicted"]["all_good"]
        gains = (ours - raw for ours, raw in zip(rates[LSC], rates[RAW], strict=True))
        lines.append(Line(f"log-sigmoid, real 22M reward models ({kind})", tuple(zip(KLS, gains, strict=True))))
    return tuple(lines)


def _embedded(results: Sequence[Result]) -> tuple[Trained, ...]:
    found = {kl: difference_at(results, "lsc_sum", "raw_sum", both_good, kl) for kl in MATCHED_KLS if results}
    points = tuple((kl, one.mean, one.low, one.high) for kl, one in found.items() if one is not None)
    return (Trained(f"trained: embedded world, {len(results)} seeds", points),) if points else ()


def _open_world(numbers: Numbers, point: design.Point) -> tuple[Trained, ...]:
    seeds = numbers.open_world[point]
    found = [lsc_minus(seeds, lambda _: design.RAW, kl) for kl in design.WIDE_KLS]
    points = tuple(_point(one) for one in found if one.seeds)
    most = max((len(one.seeds) for one in found), default=0)
    label = f"trained: open world, {point}, {most} seed{'s' if most > 1 else ''}"
    return (Trained(label, points),) if points else ()


def _point(found: Contrast) -> tuple[float, float, float, float]:
    """Over seeds, or over the test prompts of the only one."""
    if found.over_seeds is None:
        one = found.seeds[0].over_prompts
        return found.target_kl, one.value, one.low, one.high
    return found.target_kl, found.over_seeds.mean, found.over_seeds.low, found.over_seeds.high
