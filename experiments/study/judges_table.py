"""Tables of the study about learned models: accuracy, agreement, and where two held-out models disagree (hacking)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Result = Mapping[str, Any]
KINDS = {"reward": "reward model", "evaluator": "held-out model"}
PAIRS = ("reward~evaluator", "reward~gold", "evaluator~gold")
CLEAN_PAIRS = ("reward~clean", "evaluator~clean", "clean~gold")  # in a world without shortcuts `clean` is `evaluator`


def accuracy_table(results: Sequence[Result]) -> list[str]:
    """Test accuracy of the preference models, mean over seeds."""
    properties = list(results[0]["reward_accuracy"]["reward"])
    rows = ["| model | " + " | ".join(properties) + " |", "| --- |" + " ---: |" * len(properties)]
    for kind, label in KINDS.items():
        means = [np.mean([result["reward_accuracy"][kind][name] for result in results]) for name in properties]
        rows.append(f"| {label} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    return rows


def agreement_table(results: Sequence[Result], target_kl: float) -> list[str]:
    """Share of sample pairs of a prompt that two scorers order alike: on SFT samples and on aligned ones."""
    rows = ["| scorers | property | SFT samples | raw sum | LSC sum |", "| --- | --- | ---: | ---: | ---: |"]
    for name in results[0]["sft"]["agreement"]:
        for pair in PAIRS + (CLEAN_PAIRS if results[0]["shortcut_strength"] else ()):
            cells = [np.mean([result["sft"]["agreement"][name][pair] for result in results])]
            for objective in ("raw_sum", "lsc_sum"):
                arms = [_arm(result, objective, target_kl) for result in results]
                cells.append(np.mean([arm["agreement"][name][pair] for arm in arms]))
            rows.append(f"| {pair.replace('~', ' and ')} | {name} | " + " | ".join(f"{c:.3f}" for c in cells) + " |")
    return rows


def _arm(result: Result, objective: str, target_kl: float) -> Mapping[str, Any]:
    return next(arm for arm in result["arms"] if (arm["objective"], arm["target_kl"]) == (objective, target_kl))
