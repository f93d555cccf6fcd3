"""What the rows of a world are drawn from: the one place that tells the embedded world from the open one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from pipelines.config.data import WorldConfig
from pipelines.config.open_world import OpenWorldConfig, World
from pipelines.world import gold
from pipelines.world.facts import topics
from pipelines.world.open_world import gold as open_gold
from pipelines.world.open_world.answers import write_answer
from pipelines.world.open_world.facts import topics as open_topics
from pipelines.world.open_world.pairs import draw_pair as draw_open_pair
from pipelines.world.open_world.points import settings
from pipelines.world.open_world.prompts import draw_prompts as draw_open_prompts
from pipelines.world.preferences import JudgedPair, draw_pair
from pipelines.world.prompts import draw_prompts
from pipelines.world.responses import render, write_plan


@dataclass(frozen=True)
class Material:
    """What the rows of a world are drawn from.

    Attributes:
        facts: The truth by topic, as JSON.
        draw_prompts: So many prompts, as canonical text.
        write_answer: A demonstrator's answer to a prompt.
        draw_pair: Two answers to a prompt, and the raters' choice for a property.
        pairs_per_prompt: Pairs per property and prompt of the training splits.
    """

    facts: Mapping[str, object]
    draw_prompts: Callable[[int, random.Random], list[str]]
    write_answer: Callable[[str, random.Random], str]
    draw_pair: Callable[[str, str, random.Random], JudgedPair]
    pairs_per_prompt: int


def material_of(world: World) -> Material:
    """What the rows of `world` are drawn from."""
    return _open(world) if isinstance(world, OpenWorldConfig) else _embedded(world)


def _embedded(world: WorldConfig) -> Material:
    def write(prompt: str, generator: random.Random) -> str:
        question = gold.asked(prompt, world.seed)
        return render(write_plan(question.topic, question.hurry, question.topic.skill, generator))

    def judge(prompt: str, judged: str, generator: random.Random) -> JudgedPair:
        question, strength = gold.asked(prompt, world.seed), world.shortcut_strength
        return draw_pair(question, judged, shortcut_strength=strength, generator=generator)

    return Material(
        facts={name: asdict(topic) for name, topic in topics(world.seed).items()},
        draw_prompts=lambda number, generator: [prompt.text for prompt in draw_prompts(number, generator)],
        write_answer=write,
        draw_pair=judge,
        pairs_per_prompt=world.pairs_per_prompt,
    )


def _open(world: OpenWorldConfig) -> Material:
    point = settings(world)
    return Material(
        facts={name: asdict(topic) for name, topic in open_topics(world.seed, point).items()},
        draw_prompts=draw_open_prompts,
        write_answer=lambda prompt, generator: write_answer(open_gold.asked(prompt, world).topic, generator),
        draw_pair=lambda prompt, judged, generator: draw_open_pair(
            open_gold.asked(prompt, world), judged, point, generator
        ),
        pairs_per_prompt=point.pairs_per_prompt,
    )
