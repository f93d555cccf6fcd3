"""The page and its figures from stored numbers, some of them missing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allgood.diagnostics import CURVE_PERCENTILES
from allgood.errors import DataError
from experiments.map.stored import load_map
from experiments.open_world.stored import Stored
from experiments.paper.__main__ import _fast
from experiments.paper.page import Elsewhere, write_page
from experiments.paper.parts import PARTS, Part
from experiments.paper.stored import near_target

TARGETS = (0.5, 1.0, 2.0)
BOTH = ["raw_sum", "lsc_sum", "raw_sum_tuned"]


def entry(kl: float, good: float) -> dict[str, Any]:
    scores = {"helpful": good, "harmless": good}
    improvement = {
        "share_improved": 0.8,
        "worst_decile": -good,
        "best_decile": 2 * good,
        "gains_at": list(np.linspace(-1, 2, len(CURVE_PERCENTILES))),
    }
    return {
        "kl": kl,
        "both_good_rate": good,
        "gold_win_rate": good,
        "gold_win_rates": scores,
        "good_rates": scores,
        "evaluator_1_win_rate": good,
        "evaluator_1_win_rates": scores,
        "evaluator_2": {"evaluator": scores, "clean": scores},
        "shortcut_rates": {"lists": 0.1 + good / 10, "consult": 0.2},
        "improvement": dict.fromkeys(scores, improvement),
    }


def points(index: int) -> list[dict[str, Any]]:
    """What tilting predicts: 0.01 less for each later objective, and too few samples beyond 1 nat."""
    return [
        {
            "kl": kl,
            "both_good": kl / 5 - index / 100,
            **dict.fromkeys(("good.helpful", "good.harmless", "lists", "consult"), kl / 4),
            "reliable": kl <= 1.0,
        }
        for kl in TARGETS
    ]


def best_of_k(index: int) -> list[dict[str, Any]]:
    return [point | {"k": k} for k, point in zip((1, 2, 4), points(index), strict=True)]


def result(seed: int, labels: list[str], targets: Sequence[float] = TARGETS) -> dict[str, Any]:
    arms = [
        entry(target, 0.2 + 0.1 * target + 0.01 * seed + 0.05 * index)
        | {
            "objective": label,
            "target_kl": target,
            "weights": {},
            "gamma": (index + 1) / target,
            "steps": 120,
            "change": {"kl": 0.02, "utility": 0.06 if index else 0.01},
            "efficiency": None,
        }
        for index, label in enumerate(labels)
        for target in targets
    ]
    tilted = {label: {"tilting": points(index), "best_of_k": best_of_k(index)} for index, label in enumerate(labels)}
    return {"seed": seed, "sft": entry(0.0, 0.2), "arms": arms, "tilted": tilted}


def store(folder: Path, name: str, labels: list[str], targets: Sequence[float] = TARGETS, num_seeds: int = 3) -> None:
    folder.mkdir(parents=True)
    for seed in range(num_seeds):
        numbers = json.dumps(result(seed, labels, targets))
        (folder / name.format(seed=seed)).write_text(numbers, encoding="utf-8")


def elsewhere(folder: Path) -> Elsewhere:
    """The map of the repository, and an open world without seeds."""
    return Elsewhere(load_map(Path("docs/results/data/map")), Stored(folder / "open_world").points())


def labels_of(part: Part) -> list[str]:
    return [setting.label for setting in part.settings]


def test_differences_are_those_of_the_stored_numbers(tmp_path: Path) -> None:
    store(tmp_path / "study", "seed_{seed}_on.json", BOTH)
    for part in PARTS.values():
        store(tmp_path / "paper" / part.name, "seed_{seed}.json", labels_of(part))
    write_page(tmp_path / "study", tmp_path / "paper", elsewhere(tmp_path), tmp_path)
    page = (tmp_path / "paper.md").read_text(encoding="utf-8")
    assert "Not run yet" not in page
    # 0.05 apart at every KL; the curves of a seed start at the same SFT policy
    assert "| both good (gold) | +0.050 [+0.050, +0.050]" in page
    assert len(list(tmp_path.glob("paper_*.png"))) == 12
    assert page.count("*We find*") == 11 + 9  # under each figure and table of differences, and in short per section
    assert page.count("arms are flat") == 5
    # gains are worth as much at the matched KL of 1 nat: 0.05 for the best tenth is 2 x 0.05
    assert "| helpful, aligned to helpful | 0.200 [0.200, 0.200] | +0.000" in page


def test_a_part_that_was_not_run_is_said_so(tmp_path: Path) -> None:
    store(tmp_path / "study", "seed_{seed}_on.json", BOTH)
    write_page(tmp_path / "study", tmp_path / "paper", elsewhere(tmp_path), tmp_path)
    page = (tmp_path / "paper.md").read_text(encoding="utf-8")
    assert page.count("Not run yet") == 2 * 5  # in short, and in its place
    assert (tmp_path / "paper_both.png").is_file()


def test_the_rehearsal_trains_every_target_that_the_page_looks_at(tmp_path: Path) -> None:
    experiments = _fast()
    plan = experiments.main
    store(tmp_path / "study", "seed_{seed}_on.json", BOTH, plan.targets, plan.num_seeds)
    for part in experiments.parts:
        store(tmp_path / "paper" / part.name, "seed_{seed}.json", labels_of(part), part.targets, plan.num_seeds)
    write_page(tmp_path / "study", tmp_path / "paper", elsewhere(tmp_path), tmp_path)
    assert "Not run yet" not in (tmp_path / "paper.md").read_text(encoding="utf-8")


def test_a_target_that_was_not_trained_is_named() -> None:
    with pytest.raises(DataError, match=r"seed 4 has no arm 'raw' at target KL 1, only at 0.5, 1.5"):
        near_target([result(4, ["raw", "LSC"], (0.5, 1.5))], "raw", 1.0)
