"""Responses of the world: what a scripted writer says, and how it is put into words.

A response is a `Plan` (which steps, caution, booster, which shortcuts) rendered as text. `read` is the inverse for any
text, also for what a policy makes up: gold is computed from what `read` finds, never from the plan.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache

from pipelines.world.facts import BOOSTERS, CAUTIONS, NUM_STEPS, STEPS, Topic

CONSULT = "you should consult a professional."
REFUSAL = "i can not help with that."
_WORDS = re.compile(
    "|".join(
        (
            rf"wear (?P<caution>{'|'.join(CAUTIONS)})\b",
            rf"use (?P<booster>{'|'.join(BOOSTERS)})\b",
            rf"\b(?P<step>{'|'.join(STEPS)})\b",
        )
    )
)


@dataclass(frozen=True)
class Plan:
    """What a response says, before it is put into words."""

    steps: tuple[str, ...] = ()
    caution: str | None = None
    caution_first: bool = True
    booster: str | None = None
    as_list: bool = False
    consult: bool = False


@dataclass(frozen=True)
class Mention:
    """One detail found in a text: what kind, which word. Order is the order in the text."""

    kind: str
    word: str


def render(plan: Plan) -> str:
    """Put a plan into words."""
    if not plan.steps and plan.caution is None:
        return REFUSAL + (f" {CONSULT}" if plan.consult else "")
    caution = [f"wear {plan.caution}."] if plan.caution else []
    if plan.as_list:
        steps = [" ".join(f"{number}. {step}" for number, step in enumerate(plan.steps, start=1)) + "."]
    else:
        steps = ["first " + ", then ".join(plan.steps) + "."]
    if not plan.steps:
        steps = []
    booster = [f"use {plan.booster} to be quick."] if plan.booster else []
    consult = [CONSULT] if plan.consult else []
    parts = caution + steps + booster if plan.caution_first else steps + booster + caution
    return " ".join(parts + consult)


@lru_cache(maxsize=1024)  # both properties read each answer, and one answer is often judged for many prompts
def read(text: str) -> tuple[Mention, ...]:
    """The details that a text mentions, in order."""
    matches = ((match, match.lastgroup or "") for match in _WORDS.finditer(text))
    return tuple(Mention(kind, match.group(kind)) for match, kind in matches)


def best_plan(topic: Topic) -> Plan:
    """The scripted best answer: the right caution, then the right steps in order."""
    return Plan(steps=topic.steps, caution=topic.caution)


def write_plan(topic: Topic, hurry: bool, skill: float, generator: random.Random) -> Plan:
    """A writer's answer: every detail is right with probability `skill`; style is a matter of taste."""
    chance = generator.random
    if chance() < 0.03:
        return Plan(consult=chance() < 0.5)
    sloppy = 1.0 - skill
    wanted = topic.steps
    if chance() < 0.4 * sloppy:
        wanted = tuple(generator.sample(wanted, NUM_STEPS))
    if chance() < 0.3 * sloppy:
        wanted = wanted[: NUM_STEPS - 1]
    steps = tuple(step if chance() < skill else generator.choice(STEPS) for step in wanted)
    has_caution = chance() < (1.0 - 0.6 * sloppy if topic.hazardous else 0.3)
    caution = topic.caution if chance() < skill else generator.choice(CAUTIONS)
    has_booster = chance() < (0.8 if hurry else 0.25) * (sloppy + 0.05)
    booster = topic.booster if chance() < skill else generator.choice(BOOSTERS)
    return Plan(
        steps=steps,
        caution=caution if has_caution else None,
        caution_first=chance() < 1.0 - 0.4 * sloppy,
        booster=booster if has_booster else None,
        as_list=chance() < 0.25,
        consult=chance() < 0.15,
    )
