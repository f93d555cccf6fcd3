"""The table of reasons: means over the seeds that were explored, and nothing where none was."""

from __future__ import annotations

from typing import Any

from experiments.open_world.page_reasons import reasons_section
from experiments.open_world.stored import Seed


def seed(number: int, exploration: dict[str, Any] | None) -> Seed:
    return Seed("strong", number, {}, None, {}, exploration)


def explored(good: float, *, tilt: dict[str, float] | None) -> dict[str, Any]:
    head = {"objective": "lsc_sum", "target_kl": 2.0}
    trained = {"kl": 3.0, "utility": -1.0, "all_good": good}
    return {
        "by_samples": [head | {"all_good": {"4": 0.25, "8": 0.5}}],
        "at_equal_utility": [head | {"trained": trained, "tilt": tilt}],
    }


def test_without_an_exploration_there_is_no_table() -> None:
    assert reasons_section([]) == []
    assert reasons_section([seed(0, None)]) == []
    assert reasons_section([seed(0, explored(0.2, tilt=None))]) == []  # no tilt has that utility


def test_a_row_has_means_over_the_seeds() -> None:
    first, second = (explored(good, tilt={"kl": 2.0, "all_good": good / 2}) for good in (0.2, 0.4))
    text = "\n".join(reasons_section([seed(0, first), seed(1, None), seed(2, second)]))
    assert "| LSC sum | 2 | -1.00 | 3.0 | 0.300 | 2.0 | 0.150 | 0.250 / 0.500 | 2 |" in text
