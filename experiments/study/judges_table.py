"""Tables of the study about learned models: accuracy, agreement, and where two held-out models disagree (hacking)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actors.tables import markdown_table

Result = Mapping[str, Any]
KINDS = {"reward": "reward model", "evaluator": "held-out model"}
PAIRS = ("reward~evaluator", "reward~gold", "evaluator~gold")
CLEAN_PAIRS = ("reward~clean", "evaluator~clean", "clean~gold")  # in a world without shortcuts `clean` is `evaluator`


def accuracy_table(results: Sequence[Result]) -> list[str]:
    """Test accuracy of the preference models, mean over seeds."""
    properties = list(results[0]["reward_accuracy"]["reward"])
    rows = []
    for kind, label in KINDS.items():
        means = [np.mean([result["reward_accuracy"][kind][name] for result in results]) for name in properties]
        rows.append([label, *(f"{mean:.3f}" for mean in means)])
    return markdown_table(["model", *properties], rows, align="l" + "r" * len(properties))


def agreement_table(results: Sequence[Result], target_kl: float) -> list[str]:
    """Share of sample pairs of a prompt that two scorers order alike: on SFT samples and on aligned ones."""
    rows = []
    for name in results[0]["sft"]["agreement"]:
        for pair in PAIRS + (CLEAN_PAIRS if results[0]["shortcut_strength"] else ()):
            cells = [np.mean([result["sft"]["agreement"][name][pair] for result in results])]
            for objective in ("raw_sum", "lsc_sum"):
                arms = [_arm(result, objective, target_kl) for result in results]
                cells.append(np.mean([arm["agreement"][name][pair] for arm in arms]))
            rows.append([pair.replace("~", " and "), name, *(f"{cell:.3f}" for cell in cells)])
    return markdown_table(["scorers", "property", "SFT samples", "raw sum", "LSC sum"], rows, align="llrrr")


def _arm(result: Result, objective: str, target_kl: float) -> Mapping[str, Any]:
    return next(arm for arm in result["arms"] if (arm["objective"], arm["target_kl"]) == (objective, target_kl))
