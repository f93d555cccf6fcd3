"""Whether a rule holds is read off stored cells."""

from typing import Any

import numpy as np
import pytest

from allgood.idealised.cells import BARS, TARGET_KLS, Cell
from allgood.idealised.objectives import LSC, RAW
from experiments.map.results import MEAN
from experiments.map.rules import Rule, bars_that_hold, check
from experiments.map.stored import Map

CELL = Cell(mixed=0.5)


def entry(rates: float, *, error: float = 0.01, edge: float = 0.0) -> dict[str, Any]:
    """An objective whose rate falls by 0.1 with every bar."""
    by_bar = [[rates - 0.1 * index] * len(TARGET_KLS) for index in range(len(BARS))]
    return {
        MEAN: {"all_good": by_bar, "error": [[error] * len(TARGET_KLS)] * len(BARS), "edge": [edge] * len(TARGET_KLS)}
    }


def a_map(raw: dict[str, Any], lsc: dict[str, Any]) -> Map:
    return Map({CELL: {"objectives": {RAW: raw, LSC: lsc}, "all_good_before": [0.5] * len(BARS)}})


def rule(sign: Any, *, kls: tuple[float, ...] = (1.0,), bars: tuple[float, ...] = (0.85,)) -> Rule:
    return Rule("", LSC, (RAW,), sign, (CELL,), kls, bars)


def test_a_rule_must_clear_two_standard_errors() -> None:
    found = check(rule("above"), a_map(entry(0.5), entry(0.53)))
    assert (found.low, found.median, found.high, found.error) == pytest.approx((0.03, 0.03, 0.03, 0.01))
    assert found.holds
    assert not check(rule("above"), a_map(entry(0.5), entry(0.515))).holds
    assert not check(rule("below"), a_map(entry(0.5), entry(0.53))).holds
    assert check(rule("equal"), a_map(entry(0.5), entry(0.515))).holds


def test_a_flip_names_its_bars() -> None:
    lsc = entry(0.53)
    lsc[MEAN]["all_good"][-1] = [0.0] * len(TARGET_KLS)
    found = check(rule("above", bars=BARS), a_map(entry(0.5), lsc))
    assert [bar for _, _, bar in found.against] == [0.95]
    assert bars_that_hold(rule("above"), a_map(entry(0.5), lsc)) == BARS[:-1]


def test_a_cell_off_its_lattice_gives_no_rule() -> None:
    lsc = entry(0.53)
    lsc[MEAN]["edge"][TARGET_KLS.index(8.0)] = 0.5
    found = check(rule("above", kls=(1.0, 8.0)), a_map(entry(0.5), lsc))
    assert (found.count, found.left_out) == (1, 1)
    np.testing.assert_array_equal(a_map(entry(0.5), lsc).is_trusted(CELL, LSC), np.array(TARGET_KLS) < 8)
