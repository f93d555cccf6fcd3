"""Coordinates with their intervals, by bootstrap over prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from allgood.diagnosis.coordinates import Point, Statistics, interval, overrated_interval, point_of
from allgood.diagnosis.found import Coordinates, JudgedCoordinates, PairCoordinates, PropertyCoordinates
from allgood.diagnosis.room import expected_room
from allgood.diagnosis.tails import Tail, expected_l_kurtosis, tail_of
from allgood.intervals import Interval

Floats = NDArray[np.float64]

NUM_RESAMPLES = 200
_MANY_TIES = 0.25
_LEAST_AGREEMENT = 0.05  # below, errors are all there is, and their size changes nothing
_EXACT = 0.9995  # correlation from which on a reward model has no errors to speak of


def coordinates_of(statistics: Statistics) -> Coordinates:
    """Everything that is measured of these prompts."""
    points = [point_of(statistics), *map(point_of, statistics.resamples(NUM_RESAMPLES))]
    names = statistics.names
    several = len(names) > 1
    spreads = _each(points, lambda point: point.spreads)
    rewards, judges = (_each(points, read) for read in (_reward_correlations, _judge_correlations))
    pairs = list(combinations(names, 2))
    return Coordinates(
        properties=tuple(
            PropertyCoordinates(name, spread, _judged(statistics, points, place) if statistics.disagreements else None)
            for place, (name, spread) in enumerate(zip(names, spreads, strict=True))
        ),
        pairs=tuple(
            PairCoordinates(*pair, rewards[place], judges[place] if judges else None)
            for place, pair in enumerate(pairs)
        ),
        between_prompts=_one(points, lambda point: point.between_prompts),
        mixed=_one(points, lambda point: point.mixed) if several else None,
        ratio=_one(points, lambda point: point.ratio) if several else None,
    )


def _reward_correlations(point: Point) -> Floats:
    return point.correlations


def _judge_correlations(point: Point) -> Floats:
    return point.judge_correlations


def _one(points: Sequence[Point], read: Callable[[Point], float]) -> Interval:
    """Of the first point, from what the others, of resampled prompts, have."""
    values = np.array([read(point) for point in points], dtype=np.float64)
    return interval(float(values[0]), values[1:])


def _each(points: Sequence[Point], read: Callable[[Point], Floats]) -> list[Interval]:
    """The same of each entry of an array."""
    values = np.stack([read(point) for point in points])
    return [interval(float(column[0]), column[1:]) for column in values.T]


def _judged(statistics: Statistics, points: Sequence[Point], place: int) -> JudgedCoordinates:
    agreement = _one(points, lambda point: float(point.agreement[place]))
    found = statistics.disagreements[place]
    shares = np.array([point.overrated[place] for point in points[1:]])
    l_kurtosis: Interval | None = None
    tail: Tail | None = None
    if agreement.value < _EXACT:
        l_kurtosis = _one(points, lambda point: float(point.l_kurtosis[place]))
        expected = expected_l_kurtosis(statistics.num_samples, max(agreement.value, _LEAST_AGREEMENT))
        tail = "few values" if found.ties > _MANY_TIES else tail_of(l_kurtosis, expected)
    point, bar = points[0], 2 * len(statistics.names) + place
    variation = math.sqrt(max(0.0, float(point.variation.covariance[bar, bar])))
    ceiling = float(point.ceilings[place])
    return JudgedCoordinates(
        good=_one(points, lambda point: float(point.good[place])),
        agreement=agreement,
        l_kurtosis=l_kurtosis,
        tail=tail,
        overrated=overrated_interval(found, statistics.num_samples, shares),
        overrated_from=found.threshold,
        room=_one(points, lambda point: float(point.room[place])),
        room_of_normal=expected_room(float(point.variation.means[bar]), variation, math.inf),
        ceiling=ceiling if math.isfinite(ceiling) else None,
    )
