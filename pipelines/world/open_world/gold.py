"""Gold of the open world: the true utility of any text in every property, from the moves that it holds.

In spreads: the sum of the values of distinct moves on the prompt's topic, minus `OFF_TOPIC` for each distinct move that
the topic does not have and `REPEATED` for each move said again, minus the mean over writers' answers. Gold is what
lies over `BAR`, times the prompt's stakes; so it is in nats, and zero where a response begins to be good.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allgood.errors import DataError
from pipelines.config.open_world import OpenWorldConfig
from pipelines.world.open_world.answers import read
from pipelines.world.open_world.facts import OFF_TOPIC, Topic, topics
from pipelines.world.open_world.points import settings
from pipelines.world.open_world.vocabulary import STAKES, TOPICS

BAR = 0.7
REPEATED = 0.1
_TOPIC = re.compile(rf"\b({'|'.join(TOPICS)})\b")


@dataclass(frozen=True)
class Asked:
    """What a prompt asks, read from its text; `ending` is an index of the stakes that its ending sets."""

    topic: Topic
    ending: int


def score(prompts: Sequence[str], responses: Sequence[str], world: OpenWorldConfig) -> dict[str, NDArray[np.float64]]:
    """Gold utilities [N] of `responses` to `prompts`, per property of the world, in nats of the raters' preference.

    Raises:
        DataError: A prompt names no topic of this world.
    """
    pairs = [(asked(prompt, world), response) for prompt, response in zip(prompts, responses, strict=True)]
    return {
        judged: np.array([utility(question, judged, response) for question, response in pairs])
        for judged in world.properties
    }


def asked(prompt: str, world: OpenWorldConfig) -> Asked:
    """The topic and the stakes of a prompt."""
    found = _TOPIC.search(prompt)
    if found is None:
        raise DataError(
            f"no topic of the open world in the prompt {prompt!r}; gold exists only for prompts about "
            f"{', '.join(TOPICS)}"
        )
    endings = [index for index, words in enumerate(STAKES) if words and words in prompt]
    return Asked(topics(world.seed, settings(world))[found.group(1)], endings[0] if endings else 0)


def utility(question: Asked, judged: str, response: str) -> float:
    """Gold of one response in one property, in nats."""
    return question.topic.stakes[judged][question.ending] * (quality(question.topic, judged, response) - BAR)


def quality(topic: Topic, judged: str, response: str) -> float:
    """The same in spreads over the mean of writers' answers."""
    moves = read(response)
    distinct = set(moves)
    worth = sum(topic.values[judged].get(move, 0.0) for move in sorted(distinct)) - topic.means[judged]
    off_topic = sum(move not in topic.own for move in distinct)
    return worth - OFF_TOPIC * off_topic - REPEATED * (len(moves) - len(distinct))
