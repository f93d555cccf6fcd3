"""What is true in the open world: for every topic its details, what each is worth in every property, and the stakes.

Writers say each move independently of the others. So the moments of a sum over the moves that an answer holds are known
exactly: values are scaled to variance 1 and have, for helpful and harmless, exactly the correlations of the point.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from pipelines.world.open_world.points import Point
from pipelines.world.open_world.vocabulary import (
    BLUNT,
    COURTESIES,
    DETAILS,
    PROPERTIES,
    RARE,
    RARE_SHARE,
    SHARED,
    STAKES_SCORES,
    TOPICS,
)

NUM_DETAILS = 28
MEAN_DETAILS = 8.0  # in a writer's answer
LEAST, MOST = 0.04, 0.8  # probability of a detail
OFF_TOPIC = 0.4  # spreads that a move costs which the topic does not have
STRAYS = 0.3  # details of other topics in a writer's answer
GENERAL_SHARE = 0.5  # of the variance of what details are worth that is the same on every topic
ENDING_SHARE = 0.2  # of the variance of log stakes over prompts that the prompt's ending decides; the rest its topic
_DIGITS = 9  # of every fact, so that another mathematical library draws the same world

Values = Mapping[str, float]

SAID_ON_EVERY_TOPIC: Values = {move: share for moves, share in SHARED.values() for move in moves} | {
    move: RARE_SHARE / len(moves) for moves in RARE.values() for move in moves
}
STRAY = STRAYS / (len(DETAILS) - NUM_DETAILS)
STRAY_VARIANCE = STRAYS * (1.0 - STRAY) * OFF_TOPIC**2
"""Of gold, in every property: what details of other topics contribute."""
ALL_MOVES = (*DETAILS, *SAID_ON_EVERY_TOPIC)


@dataclass(frozen=True)
class Topic:
    """The truth about one topic.

    Attributes:
        said: Move -> probability that a writer says it, in the order in which writers say moves. Details of other
            topics are among them.
        own: The same without details of other topics.
        values: Property -> own move -> what saying it adds, in spreads of gold.
        means: Property -> the mean of that sum over writers, in spreads.
        stakes: Property -> standard deviation of gold over writers in nats, per ending of the prompt.
    """

    said: Values
    own: Values
    values: Mapping[str, Values]
    means: Values
    stakes: Mapping[str, Sequence[float]]


@cache
def topics(seed: int, point: Point) -> Mapping[str, Topic]:
    """The facts of world `seed` at a point, by topic name."""
    generator = random.Random(f"open-facts-{seed}")
    of_topic = _normal_scores(generator)
    of_property = {name: _normal_scores(generator) for name in PROPERTIES}
    order = generator.sample(ALL_MOVES, len(ALL_MOVES))
    general = {name: {move: generator.gauss(0.0, 1.0) for move in DETAILS} for name in ("helpful", "harmless")}
    return {
        name: _topic(
            point,
            stakes={judged: _stakes(point, of_topic[index], of_property[judged][index]) for judged in PROPERTIES},
            order=order,
            general=general,
            generator=generator,
        )
        for index, name in enumerate(TOPICS)
    }


def _topic(
    point: Point,
    stakes: Mapping[str, Sequence[float]],
    order: Sequence[str],
    general: Mapping[str, Values],
    generator: random.Random,
) -> Topic:
    details = dict(zip(generator.sample(DETAILS, NUM_DETAILS), _probabilities(generator), strict=True))
    own = {**details, **SAID_ON_EVERY_TOPIC}
    helpful, harmless = _directions(details, point, general, generator)
    raw = {
        "helpful": helpful,
        "harmless": harmless,
        "concise": {move: -float(len(move.split())) for move in own},
        "courteous": dict.fromkeys(COURTESIES, 1.0) | dict.fromkeys(BLUNT, -1.5),
    }
    values = {name: _scaled(raw[name], own, variance=1.0 - STRAY_VARIANCE) for name in PROPERTIES}
    return Topic(
        said={move: own.get(move, STRAY) for move in order},
        own=own,
        values=values,
        means={name: _mean(values[name], own) - OFF_TOPIC * STRAYS for name in PROPERTIES},
        stakes=stakes,
    )


def _mean(values: Values, said: Values) -> float:
    return math.fsum(said[move] * value for move, value in sorted(values.items()))


def _probabilities(generator: random.Random) -> list[float]:
    """How often writers say each detail: log-normal, so that a topic has common and rare ones."""
    raw = [math.exp(0.6 * generator.gauss(0.0, 1.0)) for _ in range(NUM_DETAILS)]
    scale = MEAN_DETAILS / math.fsum(raw)
    return [round(min(max(scale * one, LEAST), MOST), _DIGITS) for one in raw]


def _directions(
    said: Values, point: Point, general: Mapping[str, Values], generator: random.Random
) -> tuple[Values, Values]:
    """Values of details for helpful and harmless, with the point's correlations to length and to each other."""
    length = _scaled(dict.fromkeys(said, 1.0), said)
    drawn = {name: _drawn(said, general[name], generator) for name in general}
    first = _orthogonal(drawn["helpful"], [length], said)
    second = _orthogonal(drawn["harmless"], [length, first], said)
    left = 1.0 - STRAY_VARIANCE  # the variance that own details have; strays are bad in both properties
    with_length, against_length = (one / math.sqrt(left) for one in point.length_correlations)
    own, other = math.sqrt(1.0 - with_length**2), math.sqrt(1.0 - against_length**2)
    shared = ((point.correlation - STRAY_VARIANCE) / left - with_length * against_length) / (own * other)
    rest = math.sqrt(1.0 - shared**2)
    helpful = {move: with_length * length[move] + own * first[move] for move in said}
    harmless = {
        move: against_length * length[move] + other * (shared * first[move] + rest * second[move]) for move in said
    }
    return helpful, harmless


def _drawn(said: Values, general: Values, generator: random.Random) -> Values:
    """What details are worth on one topic: in part what they are worth on every topic."""
    of_all, of_topic = math.sqrt(GENERAL_SHARE), math.sqrt(1.0 - GENERAL_SHARE)
    return {move: of_all * general[move] + of_topic * generator.gauss(0.0, 1.0) for move in said}


def _orthogonal(values: Values, others: Sequence[Values], said: Values) -> Values:
    """`values` without what they share with `others`, at variance 1."""
    for other in others:
        shared = covariance(values, other, said)
        values = {move: value - shared * other[move] for move, value in values.items()}
    return _scaled(values, said)


def covariance(first: Values, second: Values, said: Values) -> float:
    """Covariance over writers' answers of two sums of values over the moves that an answer holds."""
    common = first.keys() & second.keys()
    return math.fsum(said[move] * (1.0 - said[move]) * first[move] * second[move] for move in sorted(common))


def _scaled(values: Values, said: Values, *, variance: float = 1.0) -> Values:
    spread = math.sqrt(covariance(values, values, said) / variance)
    return {move: round(value / spread, _DIGITS) for move, value in values.items()}


def _normal_scores(generator: random.Random) -> list[float]:
    """One standard score per topic, in random order: quantiles of a normal, so that every world spreads alike."""
    scores = [NormalDist().inv_cdf((index + 0.5) / len(TOPICS)) for index in range(len(TOPICS))]
    spread = math.sqrt(math.fsum(score**2 for score in scores) / len(scores))
    return generator.sample([score / spread for score in scores], len(scores))


def _stakes(point: Point, topic: float, judged: float) -> list[float]:
    """Spread of gold in nats, per ending of the prompt."""
    of_topic = math.sqrt(1.0 - ENDING_SHARE) * point.sigma_prompts * topic + point.sigma_properties * judged
    of_ending = math.sqrt(ENDING_SHARE) * point.sigma_prompts
    return [round(point.spread * math.exp(of_topic + of_ending * score), _DIGITS) for score in STAKES_SCORES]
