import math

import pytest
import torch

from allgood.calibration import expected_calibration_error, fit_temperature, reliability_curve, why_at_bound


def pairs(num: int, *, scale: float) -> torch.Tensor:
    """Margins of a model whose logits are `scale` times the true ones."""
    generator = torch.Generator().manual_seed(0)
    true = 2 * torch.randn(num, generator=generator, dtype=torch.float64)
    chosen_is_first = torch.rand(num, generator=generator) < torch.sigmoid(true)
    return scale * torch.where(chosen_is_first, true, -true)


def test_curve_by_hand():
    # confidences .6, .6, .9, .9; three right
    margins = [math.log(1.5), -math.log(1.5), math.log(9), math.log(9)]
    found = reliability_curve(margins, num_bins=2)
    assert found.confidence.tolist() == pytest.approx([0.6, 0.9])
    assert found.accuracy.tolist() == [0.5, 1.0]
    assert found.count.tolist() == [2.0, 2.0]
    assert found.expected_calibration_error == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)


def test_empty_bins_are_left_out_and_ties_are_half_right():
    found = reliability_curve([0.0, 0.0, 50.0], num_bins=10)
    assert found.accuracy.tolist() == [0.5, 1.0]
    assert found.count.tolist() == [2.0, 1.0]


def test_a_calibrated_model_has_a_small_error_and_an_overconfident_one_a_large_one():
    assert expected_calibration_error(pairs(20_000, scale=1.0)) < 0.015
    assert expected_calibration_error(pairs(20_000, scale=3.0)) > 0.08


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_the_temperature_undoes_a_wrong_scale(scale):
    margins = pairs(20_000, scale=scale)
    temperature = fit_temperature(margins)
    assert temperature == pytest.approx(scale, rel=0.05)
    assert expected_calibration_error(margins / temperature) < 0.015


def test_without_a_maximum_inside_the_temperature_ends_at_a_bound():
    assert fit_temperature([1.0, 2.0]) == pytest.approx(1e-3)
    assert fit_temperature([-1.0, -2.0]) == pytest.approx(1e3)


def test_bad_margins_are_refused():
    for call in (reliability_curve, fit_temperature, expected_calibration_error):
        with pytest.raises(ValueError, match=r"margins must be non-empty \[pairs\]"):
            call([])
        with pytest.raises(ValueError, match=r"margins must be non-empty \[pairs\]"):
            call(torch.zeros(2, 2))
        with pytest.raises(ValueError, match="margins must be finite"):
            call([math.nan])
    with pytest.raises(ValueError, match="num_bins must be at least 1"):
        reliability_curve([1.0], num_bins=0)


@pytest.mark.parametrize(
    ("margins", "reason"),
    [
        ([0.5, 1.0, 2.0], "right on every pair"),
        ([-1.0, -2.0], "no better than chance"),
        ([1.0, 2.0, -0.5], None),
    ],
)
def test_a_fit_at_its_bound_says_why(margins: list[float], reason: str | None) -> None:
    found = why_at_bound(fit_temperature(torch.tensor(margins)))
    assert found is None if reason is None else reason in str(found)
