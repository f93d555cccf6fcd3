"""Is the world a fair test? Its promises as numbers, before any model is trained.

    python -m experiments.world.checks [--seeds 5]

prints the table of docs/explanation/world.md. Writers stand for the SFT policy here: it imitates them.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from actors.tables import markdown_table
from pipelines.config.data import BARS, WorldConfig
from pipelines.objective.gold import over_every_bar
from pipelines.world import gold
from pipelines.world.facts import Topic, topics
from pipelines.world.responses import Plan, best_plan, render, write_plan
from pipelines.world.write import Row, split_prompts, world_rows

SAMPLES_PER_PROMPT = 64


def world_numbers(world: WorldConfig) -> dict[str, float]:
    """Every promise of the world that needs no trained model."""
    prompts = split_prompts(world)["test"]
    answers = [_writer_answers(prompt, world.seed) for prompt in prompts]
    good = np.array(
        [
            [_both_good(prompt, answer, world.seed) for answer in row]
            for prompt, row in zip(prompts, answers, strict=True)
        ]
    )
    pairs = world_rows(world)
    return {
        "writers: both good": float(good.mean()),
        "writers: prompts under 5 %": float(np.mean(good.mean(axis=1) < 0.05)),
        "writers: prompts over 80 %": float(np.mean(good.mean(axis=1) > 0.80)),
        "scripted best answer both good": _share(
            prompts, lambda p: _both_good(p, render(best_plan(gold.asked(p, world.seed).topic)), world.seed)
        ),
        "best constant response both good": _best_constant(prompts, answers, world.seed),
        "prompts where one property's best fails the other": _share(prompts, lambda p: _in_tension(p, world.seed)),
        "spread of helpful gold within a prompt, 90 % / 10 % quantile": _spread_ratio(prompts, answers, world.seed),
        **{f"Bayes accuracy of {name} pairs": bayes_accuracy(pairs[f"{name}_pairs"]) for name in BARS},
    }


def _writer_answers(prompt: str, seed: int) -> list[str]:
    generator, question = random.Random(f"checks-{seed}-{prompt}"), gold.asked(prompt, seed)
    plans = [
        write_plan(question.topic, question.hurry, question.topic.skill, generator) for _ in range(SAMPLES_PER_PROMPT)
    ]
    return [render(plan) for plan in plans]


def _both_good(prompt: str, answer: str, seed: int) -> bool:
    scores = gold.score([prompt], [answer], world_seed=seed)
    return bool(over_every_bar(scores, BARS)[0])


def _serves(answer: str, seed: int, prompt: str) -> bool:
    return _both_good(prompt, answer, seed)


def _best_constant(prompts: list[str], answers: list[list[str]], seed: int) -> float:
    """The share of prompts that the best single answer serves: one tries the commonest ones and every topic's best."""
    common = [answer for answer, _ in Counter(answer for row in answers for answer in row).most_common(100)]
    candidates = common + [render(best_plan(topic)) for topic in topics(seed).values()]
    return max(_share(prompts, partial(_serves, answer, seed)) for answer in candidates)


def _in_tension(prompt: str, seed: int) -> bool:
    """Whether every best answer for one property alone fails the bar of the other."""
    candidates = [render(plan) for plan in _plans(gold.asked(prompt, seed).topic)]
    scores = gold.score([prompt] * len(candidates), candidates, world_seed=seed)
    return _best_fails(scores["helpful"], scores["harmless"]) or _best_fails(scores["harmless"], scores["helpful"])


def _best_fails(own: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return not bool(np.any(other[own >= own.max() - 1e-9] >= 0.0))


def _plans(topic: Topic) -> list[Plan]:
    details = product((topic.steps, topic.steps[:2], ()), (None, topic.caution), (True, False), (None, topic.booster))
    return [Plan(steps, caution, first, booster) for steps, caution, first, booster in details]


def _spread_ratio(prompts: list[str], answers: list[list[str]], seed: int) -> float:
    spreads = [
        gold.score([prompt] * len(row), row, world_seed=seed)["helpful"].std()
        for prompt, row in zip(prompts, answers, strict=True)
    ]
    low, high = np.quantile(spreads, [0.1, 0.9])
    return float(high / low)


def bayes_accuracy(pairs: list[Row]) -> float:
    """Of the test pairs of a world; nobody who sees only the texts can be right more often."""
    probabilities = [float(str(row["probability"])) for row in pairs if row["split"] == "test"]
    return float(np.mean([max(p, 1.0 - p) for p in probabilities]))


def _share(prompts: list[str], holds: Callable[[str], bool]) -> float:
    return float(np.mean([holds(prompt) for prompt in prompts]))


def main() -> None:
    """Print the table over several seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    numbers = [world_numbers(WorldConfig(seed=seed)) for seed in range(parser.parse_args().seeds)]
    rows = [[name, *(f"{row[name]:.3f}" for row in numbers)] for name in numbers[0]]
    print("\n".join(markdown_table(["number", *(f"seed {seed}" for seed in range(len(numbers)))], rows)))


if __name__ == "__main__":
    main()
