import math

import pytest
import torch

from allgood.best_of_k import best_of_k, best_of_k_by_prompt, kl_bound, kl_estimate, selection_weights


def test_best_of_k_by_hand():
    scores, values = torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([[10.0, 40.0, 20.0]])
    # k = 2: the pairs (1, 3), (1, 2), (3, 2) give 40, 20, 40
    assert best_of_k(scores, values).tolist() == pytest.approx([70 / 3, 100 / 3, 40.0])


def test_ties_share():
    scores, values = torch.tensor([[5.0, 5.0, 1.0]]), torch.tensor([[0.0, 10.0, 100.0]])
    # k = 2: (tie) 5, (first, last) 0, (second, last) 10
    assert best_of_k(scores, values).tolist() == pytest.approx([110 / 3, 5.0, 5.0])
    assert best_of_k(torch.zeros(1, 4), torch.tensor([[1.0, 2.0, 3.0, 6.0]])).tolist() == pytest.approx([3.0] * 4)


def test_the_order_of_samples_does_not_matter_and_prompts_are_averaged():
    generator = torch.Generator().manual_seed(0)
    scores, values = torch.randn(3, 7, generator=generator), torch.randn(3, 7, generator=generator)
    order = torch.randperm(7, generator=generator)
    by_prompt = best_of_k_by_prompt(scores, values)
    assert by_prompt.shape == (3, 7)
    torch.testing.assert_close(best_of_k_by_prompt(scores[:, order], values[:, order]), by_prompt)
    torch.testing.assert_close(best_of_k(scores, values), by_prompt.mean(0))


def test_a_monotone_transform_of_the_score_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    scores, values = torch.randn(3, 7, generator=generator), torch.randn(3, 7, generator=generator)
    assert torch.equal(best_of_k(scores, values), best_of_k(scores.exp(), values))


def test_the_gradient_in_values_is_the_probability_of_being_selected():
    scores = torch.tensor([[5.0, 5.0, 1.0, 7.0], [2.0, 1.0, 3.0, 4.0]])
    values = torch.zeros(2, 4, requires_grad=True)
    for k in (1, 3):
        (slope,) = torch.autograd.grad(best_of_k(scores, values)[k - 1], values)
        torch.testing.assert_close(slope, selection_weights(scores, [k])[0].float() / 2)


def test_bound_by_hand():
    assert kl_bound(1) == 0.0
    assert kl_bound(4) == pytest.approx(math.log(4) - 0.75)


def test_the_estimate_is_the_bound_without_ties_and_0_with_nothing_but_ties():
    scores = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    for k in (1, 2, 5, 16):
        assert kl_estimate(scores, k) == pytest.approx(kl_bound(k), abs=1e-12)
        assert kl_estimate(torch.zeros(2, 16), k) == pytest.approx(0.0, abs=1e-12)


def test_the_estimate_with_ties_is_the_exact_kl_of_the_atoms():
    # Two atoms of mass 1/4 and 3/4: best-of-2 has (1/16, 15/16).
    expected = 1 / 16 * math.log(1 / 4) + 15 / 16 * math.log(5 / 4)
    assert kl_estimate(torch.tensor([[0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]]), 2) == pytest.approx(expected)


def test_the_estimate_stays_finite_for_large_k():
    scores = torch.arange(2000.0).floor_divide(2)[None]
    assert 0 < kl_estimate(scores, 2000) < kl_bound(2000)


def test_bad_input_is_refused():
    z = torch.zeros(2, 3)
    for call, message in [
        (lambda: best_of_k(z, torch.zeros(2, 4)), "scores and values must have the same shape"),
        (lambda: best_of_k(z[0], z[0]), "scores must be a non-empty tensor"),
        (lambda: best_of_k(torch.zeros(0, 3), torch.zeros(0, 3)), "scores must be a non-empty tensor"),
        (lambda: best_of_k_by_prompt(torch.full((1, 1), math.nan), torch.zeros(1, 1)), "scores must be finite"),
        (lambda: best_of_k_by_prompt(torch.zeros(1, 1), torch.full((1, 1), math.inf)), "values must be finite"),
        (lambda: kl_bound(0), "k must be at least 1, got 0"),
        (lambda: kl_estimate(z, 4), r"k must lie in 1\.\.3, the samples per prompt, got 4"),
        (lambda: kl_estimate(z, 0), r"k must lie in 1\.\.3"),
        (lambda: kl_estimate(z[0], 1), "scores must be a non-empty tensor"),
        (lambda: kl_estimate(torch.full((1, 1), math.nan), 1), "scores must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_selection_weights_give_what_best_of_k_gives_ties_included() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (3, 7), generator=generator).double()
    values = torch.randn(3, 7, generator=generator, dtype=torch.float64)
    weights = selection_weights(scores, range(1, 8))
    torch.testing.assert_close(weights.sum(-1), torch.ones(7, 3, dtype=torch.float64))
    torch.testing.assert_close((weights * values).sum(-1).mean(-1), best_of_k(scores, values))


def test_selection_weights_refuse_more_than_there_is() -> None:
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.2"):
        selection_weights(torch.zeros(1, 2), [3])
