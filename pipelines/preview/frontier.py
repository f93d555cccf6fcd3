"""What to choose: the Pareto front of KL and worth, and the best settings within a KL budget, with what cannot be told.

The headline metric is the both-good rate where gold exists, else the win rate by the held-out evaluators where every
trained reward has one, else that by the training reward models. The best of many settings is partly luck: alongside its
value stands what the best of one half of the prompts is worth on the other half, and how many settings cannot be told
from it on these prompts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from allgood import pareto
from pipelines.config.properties import Property
from pipelines.preview.measures import evaluators_suffice, judged_by
from pipelines.preview.predict import Prediction

NUM_SPLITS = 20
_SURE = 1.96  # standard errors


@dataclass(frozen=True)
class Best:
    """The best prediction within a KL budget, as a position in the list that was searched.

    `reliable` is the position of the best one that the samples support, None when there is none. `honest_value` is the
    metric on prompts that had no part in the choice; `num_alike` counts the other settings within the budget whose
    paired difference to the best is within its error.
    """

    budget: float
    position: int
    reliable: int | None
    honest_value: float
    num_alike: int
    num_within: int


def headline_of(comparisons: Sequence[str], names: Sequence[str], properties: Mapping[str, Property]) -> str:
    """The metric that settings are ranked by. One that judges some trained rewards only would favour those."""
    if "both_good_rate" in names:
        return "both_good_rate"
    evaluated = judged_by("evaluator", comparisons)
    return "evaluator_win_rate" if evaluators_suffice(evaluated, properties) else "reward_win_rate"


def pareto_front(predictions: Sequence[Prediction], headline: str) -> list[int]:
    """Positions of the reliable predictions that no other reliable one beats in KL and metric, in order of KL."""
    known = [i for i, found in enumerate(predictions) if found.reliable and found.numbers]
    # Solved targets differ in the last digits: equal to a thousandth of a nat is equal.
    kls = [round(predictions[i].numbers["kl"], 3) for i in known]
    on_front = pareto.pareto_front([predictions[i].numbers[headline] for i in known], kls)
    return [known[i] for i in sorted(np.flatnonzero(on_front), key=lambda i: kls[i])]


def best_within(predictions: Sequence[Prediction], budget: float, headline: str) -> Best | None:
    """The prediction with the highest metric whose KL is at most `budget` (to a thousandth); None if there is none."""
    within = [i for i, found in enumerate(predictions) if found.numbers and found.numbers["kl"] <= budget + 1e-3]
    if not within:
        return None
    values = torch.stack([_by_prompt(predictions[i]) for i in within])  # [settings, prompts]
    best = int(values.mean(1).argmax())
    reliable = [i for i in within if predictions[i].reliable]
    return Best(
        budget=budget,
        position=within[best],
        reliable=max(reliable, key=lambda i: predictions[i].numbers[headline]) if reliable else None,
        honest_value=_honest_value(values),
        num_alike=_num_alike(values, best),
        num_within=len(within),
    )


def _num_alike(values: Tensor, best: int) -> int:
    """How many others cannot be told from the best, from paired differences by prompt."""
    if values.shape[1] < 2:
        return len(values) - 1
    differences = values[best] - values
    errors = differences.std(1) / math.sqrt(values.shape[1])
    return int((differences.mean(1) <= _SURE * errors).sum()) - 1  # the best itself differs by 0


def _honest_value(values: Tensor) -> float:
    """Mean over random halvings of the prompts: the choice of one half, measured on the other. NaN for one prompt."""
    num_prompts = values.shape[1]
    if num_prompts < 2:
        return math.nan
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(NUM_SPLITS):
        order = torch.randperm(num_prompts, generator=generator)
        first, second = order[: num_prompts // 2], order[num_prompts // 2 :]
        for chooses, measures in ((first, second), (second, first)):
            chosen = int(values[:, chooses].mean(1).argmax())
            found.append(float(values[chosen, measures].mean()))
    return sum(found) / len(found)


def _by_prompt(found: Prediction) -> Tensor:
    assert found.by_prompt is not None
    return found.by_prompt
