"""What the page shows of a policy besides its all-good rate: names, and how to read each from a stored entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.open_world.analysis import Values

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """A number of all prompts together; the start policy has one against itself."""

    name: str
    read: Values


def _number(key: str) -> Values:
    return lambda entry: _one(entry[key])


def _rare(entry: Entry) -> NDArray[np.float64]:
    return _one(np.mean(list(entry["rare_rates"].values())))


def _reward_wins(entry: Entry) -> NDArray[np.float64]:
    return _one(np.mean(list(entry["reward_win_rates"].values())))


def _overrated(entry: Entry) -> NDArray[np.float64]:
    return _reward_wins(entry) - _one(entry["gold_win_rate"])


def _one(value: Any) -> NDArray[np.float64]:
    return np.array([float(value)])


GOLD_WINS = Metric("gold win rate", _number("gold_win_rate"))
METRICS = (
    GOLD_WINS,
    Metric("reward-model win rate", _reward_wins),
    Metric("overoptimisation", _overrated),
    Metric("not improved", _number("not_improved")),
    Metric("worst tenth", _number("worst_tenth")),
    Metric("rare phrases", _rare),
    Metric("tokens", _number("mean_tokens")),
)
EXPLAINED = (
    "*Reward-model win rate*: against the start policy, by the training reward models, mean over properties; minus the "
    "gold win rate it is *overoptimisation*. *Not improved*: share of prompts on which gold of some property wins less "
    "than 55 % of the time (with 8 samples against 16, hence with noise). *Worst tenth*: all-good rate of the tenth of "
    "the prompts with the lowest, found on half of the samples and measured on the other. *Rare phrases*: share of "
    "responses with one that raters overvalue, mean over properties."
)
