import pytest

from pipelines.study.convergence import convergence_table, last_quarter

ARM = {
    "objective": "raw_sum",
    "target_kl": 1.0,
    "gamma": 0.5,
    "kl": 1.02,
    "curve": [{"kl": 2.0, "utility": -3.0}, {"kl": 1.1, "utility": -2.1}, {"kl": 1.0, "utility": -2.0}],
    "efficiency": {"value": 0.8, "achieved_gain": 2.0},
}


def test_changes_are_relative_to_the_last_kl_and_to_the_gain_over_sft() -> None:
    found = last_quarter(ARM)
    assert found.kl == pytest.approx(0.1)
    assert found.utility == pytest.approx(0.05)  # 0.1 of a gain of 2


def test_an_arm_whose_gain_is_unknown_has_a_change_of_kl_alone() -> None:
    unknown = ARM | {"efficiency": None}
    assert last_quarter(unknown).utility is None
    row = convergence_table([{"arms": [unknown]}], {"raw_sum": "raw sum"})[-1]
    assert row == "| raw sum | 1 | 0.5 | 1.02 | 10.0% | - | - |"
