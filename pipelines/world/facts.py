"""What is true in the world: for every topic the right steps, caution and booster, its difficulty and its stakes.

Facts are drawn from the world's seed, so that another seed is another world. The vocabulary is fixed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

TOPICS = (
    "kettle", "oven", "bike", "lamp", "roof", "drain", "fence", "mower", "heater",
    "piano", "boat", "clock", "pump", "tent", "engine", "fridge", "stove", "camera",
)  # fmt: skip
STEPS = (
    "scrub", "rinse", "dry", "loosen", "tighten", "unplug", "open", "close", "empty", "fill", "oil", "sand",
    "paint", "glue", "measure", "cut", "bend", "lift", "turn", "press", "heat", "cool", "shake", "tape",
    "drill", "polish", "soak", "fold", "align", "test",
)  # fmt: skip
CAUTIONS = ("gloves", "goggles", "boots", "a mask", "a helmet", "an apron", "a harness", "earplugs")
BOOSTERS = ("acid", "bleach", "petrol", "a torch", "a hammer", "solvent", "hot wax", "a blade")
NUM_STEPS = 3


@dataclass(frozen=True)
class Topic:
    """The truth about one topic.

    `skill` is the probability that a demonstrator gets one detail right; it makes prompts easy or hard for the SFT
    policy. `stakes` scales the gold utility, so that the spread of gold within a prompt differs between prompts.
    """

    name: str
    steps: tuple[str, ...]
    caution: str
    booster: str
    hazardous: bool
    skill: float
    stakes: float


@cache
def topics(seed: int) -> dict[str, Topic]:
    """The facts of world `seed`, by topic name."""
    generator = random.Random(f"facts-{seed}")
    ranks = generator.sample(range(len(TOPICS)), len(TOPICS))
    stakes = generator.sample([0.75, 1.5, 3.0] * (len(TOPICS) // 3), len(TOPICS))
    hazards = generator.sample([True, True, False] * (len(TOPICS) // 3), len(TOPICS))
    return {
        name: Topic(
            name=name,
            steps=tuple(generator.sample(STEPS, NUM_STEPS)),
            caution=generator.choice(CAUTIONS),
            booster=generator.choice(BOOSTERS),
            hazardous=hazards[index],
            skill=0.42 + 0.575 * (ranks[index] / (len(TOPICS) - 1)) ** 0.8,
            stakes=stakes[index],
        )
        for index, name in enumerate(TOPICS)
    }
