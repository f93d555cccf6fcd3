"""Choosing among settings: validation chooses, test reports, and a budget is a budget."""

from __future__ import annotations

import pytest

from pipelines.sweep.results import Setting, Value, front_area, recommended
from pipelines.sweep.score import trial_score


def setting(name: str, validation: tuple[float, float], test: tuple[float, float], *, on_front: bool = True) -> Setting:
    def numbers(pair: tuple[float, float]) -> dict[str, Value]:
        return {"win_rate": Value(pair[0], None, None), "kl": Value(pair[1], None, None)}

    return Setting(name, {}, {}, 1, numbers(validation), numbers(test), on_front)


CHEAP = setting("cheap", (0.60, 1.0), (0.58, 1.1))
DEAR = setting("dear", (0.75, 3.0), (0.70, 3.2))
LUCKY = setting("lucky", (0.55, 1.5), (0.99, 1.5), on_front=False)


def test_the_recommended_setting_is_the_best_of_those_within_the_budget() -> None:
    assert recommended([CHEAP, DEAR, LUCKY], 2.0) is CHEAP
    assert recommended([CHEAP, DEAR, LUCKY], None) is DEAR
    assert recommended([CHEAP, DEAR], 0.5) is None


def test_a_test_number_never_chooses() -> None:
    assert recommended([CHEAP, LUCKY], 2.0) is CHEAP


def test_the_area_is_that_of_the_front_on_both_kinds_of_prompts() -> None:
    # Corner (0.5, 4): 0.10 from 1 to 3, then 0.25 from 3 to 4; on test prompts 0.08 from 1.1 to 3.2, then 0.2 to 4.
    area = front_area([CHEAP, DEAR, LUCKY], 4.0)
    assert area["validation"] == pytest.approx(0.10 * 2 + 0.25 * 1)
    assert area["test"] == pytest.approx(0.08 * 2.1 + 0.2 * 0.8)


def test_without_a_budget_the_corner_is_the_largest_kl() -> None:
    assert front_area([CHEAP, DEAR], None)["worst_kl"] == 3.0
    assert front_area([], None)["validation"] == 0.0


def test_every_trial_within_the_budget_is_worth_more_than_any_beyond() -> None:
    assert trial_score(0.6, 1.0, 2.0) == 0.6
    assert trial_score(0.9, 2.5, 2.0) == -0.5
    assert trial_score(0.9, 2.1, 2.0) > trial_score(0.9, 5.0, 2.0)
    assert trial_score(0.9, 50.0, None) == 0.9
