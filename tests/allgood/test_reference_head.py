import math

import pytest
import torch

from allgood.reference_head import (
    Prediction,
    ReferenceHead,
    coverage,
    fit,
    gaussian_nll,
)


def world(num_prompts: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prompts whose reward has a mean and a spread that depend on their features: features, draws, means, stds."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_prompts, 5, generator=generator)
    means, stds = 3 + 2 * features[:, 0] - features[:, 1], (0.4 * features[:, 2]).exp()
    draws = means[:, None] + stds[:, None] * torch.randn(num_prompts, 16, generator=generator)
    return features, draws, means, stds


def test_quantile_by_hand():
    found = Prediction(torch.tensor([1.0]), torch.tensor([2.0])).quantile(0.85)
    assert found.item() == pytest.approx(1 + 2 * 1.0364334)


def test_likelihood_by_hand():
    prediction = Prediction(torch.tensor([1.0]), torch.tensor([2.0]))
    # z = -1/2 and 1: mean of z^2 / 2 = 0.3125
    expected = 0.3125 + math.log(2) + 0.5 * math.log(2 * math.pi)
    assert gaussian_nll(prediction, torch.tensor([[0.0, 3.0]])).item() == pytest.approx(expected)


def test_an_untrained_head_predicts_one_gaussian_for_all_prompts():
    features, draws, _, _ = world(50, 0)
    head = ReferenceHead(5)
    head.standardise(features, draws)
    prediction = head(features)
    torch.testing.assert_close(prediction.mean, draws.mean().expand(50))
    torch.testing.assert_close(prediction.std, draws.std(1).mean().expand(50))


@pytest.mark.parametrize("num_hidden", [0, 16])
def test_a_trained_head_knows_mean_and_spread_of_prompts_it_never_saw(num_hidden):
    features, draws, _, _ = world(600, 0)
    head = fit(features, draws, seed=0, num_hidden=num_hidden, num_steps=300)
    unseen, unseen_draws, means, stds = world(400, 1)
    with torch.no_grad():
        prediction = head(unseen)
    assert torch.corrcoef(torch.stack([prediction.mean, means]))[0, 1] > 0.99
    assert torch.corrcoef(torch.stack([prediction.std.log(), stds.log()]))[0, 1] > 0.9
    for report in coverage(prediction, unseen_draws):
        assert report.share_below == pytest.approx(report.quantile, abs=0.04)


def test_coverage_tells_when_the_spread_is_too_small():
    _, draws, means, stds = world(400, 2)
    right, wrong = (coverage(Prediction(means, factor * stds), draws, (0.85,))[0] for factor in (1.0, 0.3))
    assert abs(right.share_below - 0.85) < 3 * right.standard_error
    assert wrong.share_below < 0.7


def test_training_is_repeatable_and_leaves_the_random_state_alone():
    features, draws, _, _ = world(30, 0)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (fit(features, draws, seed=1, num_hidden=4, num_steps=5) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    for mine, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_constant_rewards_do_not_make_the_likelihood_infinite():
    head = fit(torch.randn(10, 3), torch.full((10, 4), 2.0), seed=0, num_steps=20)
    assert torch.isfinite(head(torch.randn(2, 3)).std).all()


def test_bad_input_is_refused():
    features, draws = torch.zeros(3, 2), torch.zeros(3, 4)
    prediction = Prediction(torch.zeros(3), torch.ones(3))
    for call, message in [
        (lambda: ReferenceHead(0), "num_features must be at least 1"),
        (lambda: fit(features[0], draws, seed=0), "features must be a non-empty tensor"),
        (lambda: fit(features * math.nan, draws, seed=0), "features must be finite"),
        (lambda: fit(features, draws[:2], seed=0), "draws must be .* for 3 prompts"),
        (lambda: fit(features, draws[:, :1], seed=0), "at least 2 draws"),
        (lambda: fit(features, draws + math.nan, seed=0), "draws must be finite"),
        (lambda: fit(features, draws, seed=0, num_steps=0), "num_steps"),
        (lambda: coverage(prediction, draws, (1.0,)), "quantile must lie"),
        (lambda: gaussian_nll(prediction, draws[:, 0]), "draws must be a non-empty tensor"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
