"""The page is what its stored numbers say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from allgood.idealised.objectives import LSC, RAW
from experiments.real_data.page import write_page

RESULTS = Path(__file__).parents[3] / "docs/results"


@pytest.fixture
def stored() -> dict[str, Any]:
    parts = ("judged", "public", "named")
    return {part: json.loads((RESULTS / "data/real_data" / f"{part}.json").read_text()) for part in parts}


def page(stored: dict[str, Any], folder: Path) -> str:
    write_page(stored, folder)
    return " ".join((folder / "real_reward_models.md").read_text(encoding="utf-8").split())


def set_linear_kurtosis(stored: dict[str, Any], value: float) -> None:
    for tails in stored["judged"]["models"]["linear"]["tails"].values():
        if "statistics" in tails:
            tails["statistics"]["excess kurtosis"]["observed"] = value


def test_the_page_in_the_repository_is_that_of_the_stored_numbers(stored: dict[str, Any], tmp_path: Path) -> None:
    write_page(stored, tmp_path)
    name = "real_reward_models.md"
    assert (tmp_path / name).read_text(encoding="utf-8") == (RESULTS / name).read_text(encoding="utf-8")


def test_other_tails_are_said_in_other_words(stored: dict[str, Any], tmp_path: Path) -> None:
    changed = copy.deepcopy(stored)
    set_linear_kurtosis(changed, 0.0)
    assert "linear 0.20 to 0.23, above what normal errors show, below what Laplace and t(3) errors show" in page(
        stored, tmp_path
    )
    assert "linear 0.00 to 0.00, above what normal errors show" in page(changed, tmp_path)
    set_linear_kurtosis(changed, -0.2)
    assert "linear -0.20 to -0.20, within what normal errors show" in page(changed, tmp_path)


def test_the_largest_difference_is_the_one_that_the_table_has(stored: dict[str, Any], tmp_path: Path) -> None:
    changed = copy.deepcopy(stored)
    rates = changed["judged"]["models"]["linear"]["predicted"]["all_good"]
    rates[LSC][1] = rates[RAW][1] - 0.123
    assert "raw sum moves the all-good rate by at most -0.123 up to 2 nats" in page(changed, tmp_path)
