"""Which process of a run is killed, when: drawn from a seed.

Every role dies at least three times, actors idle as well as busy; the other kills fall on any of them. Between two
kills lies at least one step, so that the first is seen before the next comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

NUM_STEPS, NUM_KILLS, LEAST_PER_ROLE = 60, 20, 3
DRIVER = "driver"
LAST_STEP = NUM_STEPS - 4  # a kill needs some steps in which it is seen

When = Literal["idle", "busy", "any"]


@dataclass(frozen=True)
class Kill:
    """Kill one process after step `step`.

    `idle`: at once, while nobody asks it anything. `busy`: it is stopped at a random moment of the next step, and
    killed when the run waits for it. `any`: at a random moment of the next step. `moment` is that moment, in steps,
    in [0, 1).
    """

    step: int
    role: str
    replica: int
    when: When
    moment: float


def draw_kills(seed: int, replicas: dict[str, int]) -> list[Kill]:
    """The kills of a seed, in order of their steps. `replicas` are those of each role that is no driver."""
    random = np.random.default_rng([seed, NUM_KILLS])
    families = sorted({family_of(role) for role in replicas} | {DRIVER})
    victims = [family for family in families for _ in range(LEAST_PER_ROLE)]
    victims += [str(family) for family in random.choice(families, NUM_KILLS - len(victims))]
    whens = {family: _whens(family, victims.count(family), random) for family in families}
    gaps = np.sort(random.choice(LAST_STEP - NUM_KILLS, NUM_KILLS, replace=False))
    steps = [int(gap) + 1 + number for number, gap in enumerate(gaps)]  # at least two apart
    kills = []
    for step, family in zip(steps, random.permutation(victims), strict=True):
        role = str(random.choice([role for role in replicas if family_of(role) == family] or [DRIVER]))
        replica = int(random.integers(replicas.get(role, 1)))
        kills.append(Kill(step, role, replica, whens[str(family)].pop(), float(random.random())))
    return kills


def family_of(role: str) -> str:
    """`reward` for the actors of each property, else the role itself."""
    return role.split(".")[0]


def _whens(family: str, number: int, random: np.random.Generator) -> list[When]:
    if family == DRIVER:
        return ["any"] * number
    either: list[When] = ["idle", "busy"]
    whens = [*either, *(either[random.integers(2)] for _ in range(number - 2))]
    random.shuffle(whens)
    return whens
