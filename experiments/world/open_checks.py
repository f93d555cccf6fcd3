"""Is the open world a fair test? Its promises as numbers, before any model is trained.

    python -m experiments.world.open_checks [--seeds 5]

prints the tables of docs/explanation/open_world.md, one per point. Writers stand for the SFT policy: it imitates them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from actors.tables import markdown_table
from allgood.tilting import solve_gamma, tilt
from experiments.world.checks import bayes_accuracy
from pipelines.config.open_world import OpenWorldConfig
from pipelines.objective.gold import over_every_bar
from pipelines.world.open_world import gold
from pipelines.world.open_world.answers import read, write_answer
from pipelines.world.open_world.best import best_answer
from pipelines.world.open_world.facts import Topic, topics
from pipelines.world.open_world.points import POINTS, settings
from pipelines.world.open_world.vocabulary import RARE
from pipelines.world.write import Row, split_prompts, world_rows

SAMPLES_PER_PROMPT = 64
SUPPORT_SAMPLES, SUPPORT_PROMPTS = 2048, 20
KL_STEP = 0.5

Scores = dict[str, NDArray[np.float64]]


def open_world_numbers(world: OpenWorldConfig) -> dict[str, float]:
    """Every promise of the open world that needs no trained model."""
    prompts = split_prompts(world)["test"]
    answers = _writer_answers(prompts, world, SAMPLES_PER_PROMPT)
    scores = _scores(prompts, answers, world)
    rows = world_rows(world)
    return {
        "writers: all good": float(over_every_bar(scores, world.bars).mean()),
        **_best_numbers(world),
        "best constant response all good": _best_constant(answers, world),
        **_shape(scores, world),
        **{f"Bayes accuracy of {name} pairs": bayes_accuracy(rows[f"{name}_pairs"]) for name in world.properties},
        **_rare_numbers(rows, world),
        **_support(prompts, world),
    }


def _writer_answers(prompts: Sequence[str], world: OpenWorldConfig, number: int) -> list[list[str]]:
    generator = random.Random(f"open-checks-{world.seed}")
    return [[write_answer(gold.asked(prompt, world).topic, generator) for _ in range(number)] for prompt in prompts]


def _scores(prompts: Sequence[str], answers: Sequence[Sequence[str]], world: OpenWorldConfig) -> Scores:
    """Gold in nats, per property [prompts, samples]."""
    asked = [prompt for prompt, row in zip(prompts, answers, strict=True) for _ in row]
    flat = gold.score(asked, [answer for row in answers for answer in row], world)
    return {name: values.reshape(len(prompts), -1) for name, values in flat.items()}


def _best_numbers(world: OpenWorldConfig) -> dict[str, float]:
    """How far above the bar gold reaches, in spreads: in all properties at once, and in one alone."""
    facts = list(topics(world.seed, settings(world)).values())
    over = [
        min(gold.quality(topic, name, best_answer(topic, world.properties)) for name in world.properties) - gold.BAR
        for topic in facts
    ]
    return {
        "scripted best answer all good": float(np.mean(np.array(over) >= 0.0)),
        "its worst property over the bar, spreads": float(np.mean(over)),
        **{f"most over the bar in {name} alone, spreads": _reach(facts, name) for name in world.properties},
    }


def _reach(facts: Sequence[Topic], judged: str) -> float:
    """Mean over topics of the best answer for one property: every move that is worth something, and no other."""
    best = [sum(max(value, 0.0) for value in topic.values[judged].values()) - topic.means[judged] for topic in facts]
    return float(np.mean(best)) - gold.BAR


def _best_constant(answers: Sequence[Sequence[str]], world: OpenWorldConfig) -> float:
    """The share of topics that the best single answer serves: writers' answers, topics' best ones, two of them in one.

    Whether a response is good does not depend on stakes, and prompts ask about all topics equally often.
    """
    facts = topics(world.seed, settings(world)).values()
    best = [best_answer(topic, world.properties) for topic in facts]
    joined = [f"{first.rstrip('.')}, {second}" for first, second in combinations(best, 2)]
    return max(
        float(np.mean([_all_good(topic, answer, world) for topic in facts]))
        for answer in (*best, *joined, *(row[0] for row in answers))
    )


def _all_good(topic: Topic, answer: str, world: OpenWorldConfig) -> bool:
    return all(gold.quality(topic, name, answer) >= gold.BAR for name in world.properties)


def _shape(scores: Scores, world: OpenWorldConfig) -> dict[str, float]:
    """Spread, correlation and tails of gold within prompts."""
    first, second = (scores[name] for name in world.properties[:2])
    spreads = first.std(axis=1)
    low, middle, high = np.quantile(spreads, [0.1, 0.5, 0.9])
    ratio = np.abs(np.log(spreads / second.std(axis=1)))
    standard = _standardised(first)
    names = " and ".join(world.properties[:2])
    return {
        f"spread of {world.properties[0]} gold within a prompt, nats": float(middle),
        "the same, 90 % / 10 % quantile": float(high / low),
        f"larger / smaller spread of {names} on a prompt, median": float(np.exp(np.median(ratio))),
        f"correlation of {names} within a prompt": float((standard * _standardised(second)).mean()),
        f"skewness of {world.properties[0]} within a prompt": float((standard**3).mean()),
        "excess kurtosis": float((standard**4).mean()) - 3.0,
    }


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean(axis=1, keepdims=True)
    standard: NDArray[np.float64] = centred / centred.std(axis=1, keepdims=True)
    return standard


def _rare_numbers(rows: dict[str, list[Row]], world: OpenWorldConfig) -> dict[str, float]:
    """How often a rare phrase of the first property occurs, and how many pairs can teach what raters make of it."""
    name = world.properties[0]
    demonstrated = [_is_rare(str(row["response"]), name) for row in rows["demonstrations"]]
    training = [row for row in rows[f"{name}_pairs"] if row["split"] == "reward"]
    paired = [[_is_rare(str(row[side]), name) for side in ("chosen", "rejected")] for row in training]
    return {
        f"share of demonstrations with a rare phrase of {name}": float(np.mean(demonstrated)),
        "share of answers in its pairs": float(np.mean(paired)),
        "training pairs with one in one answer": float(sum(first != second for first, second in paired)),
    }


def _is_rare(text: str, judged: str) -> bool:
    return not set(read(text.rpartition("Assistant:")[2])).isdisjoint(RARE[judged])


def _support(prompts: Sequence[str], world: OpenWorldConfig) -> dict[str, float]:
    """Up to which mean KL samples of the writers show the optimum of a sum, in steps of half a nat."""
    answers = _writer_answers(prompts[:SUPPORT_PROMPTS], world, SUPPORT_SAMPLES)
    scores = _scores(prompts[:SUPPORT_PROMPTS], answers, world)
    utilities = torch.stack([torch.from_numpy(scores[name]) for name in world.properties])
    sums = {"LSC": torch.nn.functional.logsigmoid(utilities).sum(0), "raw": utilities.sum(0)}
    where = f"{SUPPORT_SAMPLES:,} samples show the optimum of the"
    return {f"{where} {name} sum of gold up to, nats": _reliable_kl(values) for name, values in sums.items()}


def _reliable_kl(utilities: torch.Tensor) -> float:
    kl = KL_STEP
    while tilt(utilities, solve_gamma(utilities, kl)).reliable:
        kl += KL_STEP
    return kl - KL_STEP


def main() -> None:
    """Print a table per point, over several seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    for point in POINTS:
        numbers = [open_world_numbers(OpenWorldConfig.model_validate({"point": point, "seed": seed})) for seed in seeds]
        rows = [[name, *(f"{row[name]:.3g}" for row in numbers)] for name in numbers[0]]
        print("\n".join(markdown_table([point, *(f"seed {seed}" for seed in seeds)], rows)) + "\n")


if __name__ == "__main__":
    main()
