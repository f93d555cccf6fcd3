import math

import numpy as np
import pytest
import torch

from allgood import diagnostics


def test_saturation_by_hand():
    # logit(0.95) = 2.944
    assert diagnostics.saturation(torch.tensor([[2.9, 3.0], [-5.0, 100.0]])) == 0.5
    assert diagnostics.saturation(torch.tensor([0.1, -0.1]), threshold=0.5) == 0.5


def test_correlation_is_given_the_prompt():
    generator = torch.Generator().manual_seed(0)
    difficulty = 10 * torch.randn(50, 1, generator=generator)
    first, second = (torch.randn(50, 8, generator=generator) for _ in range(2))
    margins = {"a": difficulty + first, "b": difficulty + second, "c": difficulty - first}
    found = diagnostics.margin_correlation(margins)
    assert set(found) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert abs(found["a", "b"].pooled) < 0.15  # what the prompts have in common is taken out
    assert found["a", "c"].pooled == pytest.approx(-1, abs=1e-6)
    expected = np.corrcoef(margins["a"][3], margins["b"][3])[0, 1]
    assert found["a", "b"].by_prompt[3].item() == pytest.approx(expected, rel=1e-4)


def test_a_margin_that_never_varies_has_no_correlation():
    found = diagnostics.margin_correlation({"a": torch.zeros(2, 3), "b": torch.randn(2, 3)})
    assert math.isnan(found["a", "b"].pooled)
    assert found["a", "b"].by_prompt.isnan().all()


def test_improvement_by_hand():
    found = diagnostics.improvement([[2.0, 4.0], [1.0, 1.0], [0.0, 2.0]], [[1.0], [1.0], [3.0]])
    assert found.by_prompt.tolist() == [2.0, 0.0, -2.0]
    assert found.quantiles[50] == 0.0
    assert found.share_unimproved == pytest.approx(2 / 3)
    assert found.uniformity == 0.0
    assert math.isnan(diagnostics.improvement([1.0, 1.0], [0.0, 0.0]).uniformity)


def test_an_even_gain_is_more_uniform_than_an_uneven_one():
    baseline = torch.zeros(40)
    even, uneven = torch.full((40,), 1.0) + torch.linspace(-0.1, 0.1, 40), torch.linspace(-2, 4, 40)
    assert diagnostics.improvement(even, baseline).uniformity > diagnostics.improvement(uneven, baseline).uniformity


def test_improvement_at_a_kl_is_that_of_the_optimum_and_more_even_for_log_sigmoids():
    spreads = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    levels = (torch.arange(20_001, dtype=torch.float64) + 0.5) / 20_001
    rewards = spreads[:, None] * torch.special.ndtri(levels)
    raw = diagnostics.improvement_at_kl(rewards, rewards, 0.2)
    # Gaussian: the gain is s^2 / gamma, the mean KL that of mean s^2 / (2 gamma^2)
    gamma = math.sqrt(float(spreads.square().mean()) / 0.4)
    assert raw.by_prompt.tolist() == pytest.approx((spreads.square() / gamma).tolist(), rel=1e-2)
    utilities = torch.nn.functional.logsigmoid(rewards - spreads[:, None])
    assert diagnostics.improvement_at_kl(utilities, rewards, 0.2).uniformity > raw.uniformity


def test_everything_promised_is_there():
    for name in diagnostics.__all__:
        assert name in vars(diagnostics)


def test_bad_input_is_refused():
    z = torch.zeros(2, 3)
    for call, message in [
        (lambda: diagnostics.saturation(torch.zeros(0)), "margins must hold at least one value"),
        (lambda: diagnostics.saturation(torch.tensor([math.nan])), "margins must be finite"),
        (lambda: diagnostics.saturation(z, threshold=1), r"threshold must lie in \(0, 1\), got 1"),
        (lambda: diagnostics.margin_correlation({"a": z}), "at least 2 properties"),
        (lambda: diagnostics.margin_correlation({"a": z, "b": z[:1]}), "must have the same shape"),
        (lambda: diagnostics.margin_correlation({"a": z[0], "b": z[0]}), "must be a non-empty tensor"),
        (lambda: diagnostics.margin_correlation({"a": z[:, :1], "b": z[:, :1]}), "at least 2 samples"),
        (lambda: diagnostics.margin_correlation({"a": z, "b": z + math.nan}), r"margins\['b'\] must be finite"),
        (lambda: diagnostics.improvement([1.0], [1.0, 2.0]), "same prompts, got 1 and 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
