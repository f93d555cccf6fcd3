"""Marks of measured reward models lie on axes that the figures have, and say what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allgood.idealised.objectives import LSC, RAW, Z_SCORE
from experiments.map.figures import slices
from experiments.map.real import SMALL, STRONG, Mark, Real, load_real

RESULTS = Path(__file__).parents[3] / "docs/results"


def between(low: float, high: float) -> dict[str, float]:
    return {"value": (low + high) / 2, "low": low, "high": high}


def found(accuracy: dict[str, float]) -> dict[str, Any]:
    rates = {RAW: [0.1, 0.2, 0.3], LSC: [0.11, 0.22, 0.33], Z_SCORE: [0.12, 0.24, 0.36]}
    return {
        "properties": {"helpful": {"spread": between(0.8, 0.9)}, "harmless": {"spread": between(0.3, 0.4)}},
        "intervals": {
            "accuracy": accuracy,
            "tension": between(-0.4, -0.3),
            "between_prompts": between(0.2, 0.3),
            "mixed": between(0.1, 0.5),
        },
        "predicted": {"all_good": rates},
    }


REAL = Real(
    judged={"models": {"linear": found(between(0.5, 0.6)), "fine-tuned": found(between(0.6, 0.8))}},
    public={
        "labeller": {"spread": between(6.8, 7.0), "sigma": between(0.2, 0.3)},
        "trained": {"4B": {"spread": between(1.2, 1.4), "sigma": between(0.1, 0.4), "correlation": between(0.6, 0.8)}},
    },
)


def test_a_mark_reaches_from_the_lowest_to_the_highest_end() -> None:
    marks = REAL.marks()
    assert marks["spread of rewards (nats)"] == [Mark(SMALL, 0.3, 0.9), Mark(STRONG, 1.2, 7.0)]
    assert marks["correlation of the properties"] == [Mark(SMALL, -0.4, -0.3)]


def test_an_error_is_what_a_correlation_leaves() -> None:
    # gold + e has correlation .8 with gold of spread 1 if e has spread 3/4, and .6 if it has 4/3.
    [small, strong] = REAL.marks()["normal error (spreads)"]
    assert (strong.low, strong.high) == pytest.approx((0.75, 4 / 3))
    assert (small.low, small.high) == pytest.approx((0.75, 3**0.5))


def test_every_mark_has_a_panel_whose_rows_are_numbers() -> None:
    with_numbers = {panel.title for panel in slices() if panel.values}
    assert set(REAL.marks()) <= with_numbers


def test_the_map_has_the_section_of_what_is_stored_and_nothing_where_nothing_is() -> None:
    real = load_real(RESULTS / "data/real_data")
    assert real is not None
    assert real.section() in (RESULTS / "map.md").read_text(encoding="utf-8")
    assert load_real(RESULTS / "data/nowhere") is None


def test_the_table_has_the_calculated_rates() -> None:
    assert "0.100 / 0.110 / 0.120 | 0.200 / 0.220 / 0.240 | 0.300 / 0.330 / 0.360" in REAL.section()
