import pytest

from experiments.study.flatness import change_over_last_quarter, is_flat


def test_change_over_the_last_quarter_by_hand() -> None:
    curve = [
        {"step": 50, "kl": 0.5, "utility": -3.0},
        {"step": 75, "kl": 1.0, "utility": -2.0},
        {"step": 100, "kl": 1.04, "utility": -1.8},
    ]
    change = change_over_last_quarter(curve, sft_utility=-4.0)
    assert change == {"kl": pytest.approx(0.04), "utility": pytest.approx(0.1)}
    assert not is_flat(change)
    assert is_flat({"kl": 0.04, "utility": -0.05})
    with pytest.raises(ValueError, match="evaluate more often"):
        change_over_last_quarter(curve[-1:], sft_utility=-4.0)
