"""The page says what is stored: seeds, roles, rows of tests, and kills that do not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allgood.errors import DataError
from experiments.chaos.page import write_page
from experiments.chaos.rows import DATA, Row, chaos_path, store_rows, stored_rows
from pipelines.output.files import write_json


def kill(role: str, when: str, recovery_s: float, why_not: str | None = None) -> dict[str, Any]:
    named = {"step": 4, "role": role, "replica": 0, "when": when}
    return named | {"why_not": why_not, "num_retries": 2, "recovery_s": recovery_s}


def result(seed: int, weights: str, *kills: dict[str, Any], same: bool = True) -> dict[str, Any]:
    lineage = {"num_steps": 60, "trained": 239, "dropped": 1, "missing": 0, "repeated": 0}
    identical = {"weights": same, "metrics": True}
    described = {"seed": seed, "kills": kills, "lineage": lineage, "identical": identical, "weights": weights}
    return described | {"other_endings": [1] * seed, "load": 1.6, "cores": 4}


def test_the_page_has_seeds_roles_and_rows(tmp_path: Path) -> None:
    kills = (kill("reward.short", "busy", 4.0), kill("reward.vowels", "busy", 7.0), kill("driver", "any", 30.0))
    write_json(chaos_path(tmp_path, 0), result(0, "a", *kills))
    unseen = kill("learner", "idle", 3.0, "the driver did not see it die")
    write_json(chaos_path(tmp_path, 1), result(1, "b", unseen, same=False))
    row = Row(7, "SIGSTOP for ever", 3, 3, (15.0, 16.5, 18.0), "yes", "tests/x/test_y.py::test_z")
    store_rows(tmp_path / DATA / "tests.json", [row], known=[row.shown_by])
    assert stored_rows(tmp_path) == [row]
    page = write_page(tmp_path).read_text()
    assert "| 0 | 3 of 3 | 239 | 1 | 0 | yes |" in page
    assert "| 1 | 0 of 1 | 239 | 1 | 0 | no: weights |" in page
    assert "its cores: seed 0 2 on 4, seed 1 2 on 4." in page
    assert "2 seeds have 2 different final weights" in page
    assert "* Seed 1: a driver ended with status 1 by itself" in page
    assert "* Seed 1, after step 4, learner: the driver did not see it die." in page
    assert "| reward, busy | 2 | 4 | 5.5 (4.0 to 7.0) |" in page
    assert "| driver | 1 | 2 | 30.0 |" in page
    assert "## A hang, and what is left behind" in page
    assert "| [SIGSTOP for ever](../../tests/x/test_y.py) | 3 | 3 | 16.5 (15.0 to 18.0) | yes |" in page
    assert "## Poison" not in page


def test_rows_of_tests_that_ran_again_take_the_place_of_the_old_ones_and_those_of_tests_that_went_go(
    tmp_path: Path,
) -> None:
    path = tmp_path / DATA / "tests.json"
    old = [
        Row(1, "a kill", 1, 0, (), "no", "tests/a.py::test_a"),
        Row(2, "a save", 1, 1, (), "yes", "tests/b.py::test_b"),
        Row(2, "a fault that nobody injects any more", 1, 1, (), "yes", "tests/c.py::test_c"),
    ]
    known = {"tests/a.py::test_a", "tests/b.py::test_b"}
    new = Row(1, "a kill", 3, 3, (1.0,), "yes", "tests/a.py::test_a")
    store_rows(path, old, known=known)
    store_rows(path, [new], known=known)
    assert stored_rows(tmp_path) == [new, old[1]]


def test_a_page_without_a_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make chaos"):
        write_page(tmp_path)
