import math

import pytest
import torch

from allgood import ensembles

MEMBERS = torch.tensor([[[1.0, 5.0]], [[3.0, 5.0]], [[8.0, 5.0]]])


def test_ensembles_by_hand():
    assert ensembles.ensemble_mean(MEMBERS).tolist() == [[4.0, 5.0]]
    assert ensembles.ensemble_median(MEMBERS).tolist() == [[3.0, 5.0]]
    assert ensembles.ensemble_median(MEMBERS[:2]).tolist() == [[2.0, 5.0]]
    assert ensembles.ensemble_min(MEMBERS).tolist() == [[1.0, 5.0]]
    # population std sqrt((9 + 1 + 16) / 3)
    found = ensembles.ensemble_lower_bound(MEMBERS, penalty=0.5)
    assert found[0].tolist() == pytest.approx([4 - 0.5 * math.sqrt(26 / 3), 5.0])


def test_agreement_has_a_finite_gradient():
    members = MEMBERS.clone().requires_grad_()
    ensembles.ensemble_lower_bound(members).sum().backward()
    assert members.grad.isfinite().all()
    assert members.grad[:, 0, 1].tolist() == pytest.approx([1 / 3] * 3)


def test_gradients_are_right():
    members = torch.randn(3, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for combine in (
        ensembles.ensemble_mean,
        ensembles.ensemble_median,
        ensembles.ensemble_min,
        ensembles.ensemble_lower_bound,
    ):
        assert torch.autograd.gradcheck(combine, (members,))


def test_half_precision_is_computed_in_float32():
    assert ensembles.ensemble_lower_bound(MEMBERS.half()).dtype == torch.float32


def test_bad_input_is_refused():
    for call, message in [
        (lambda: ensembles.ensemble_mean(torch.zeros(0, 3)), "at least 1 member"),
        (lambda: ensembles.ensemble_min(torch.tensor([math.nan])), "members must be finite"),
        (lambda: ensembles.ensemble_lower_bound(MEMBERS[:1]), "members must be at least 2"),
        (lambda: ensembles.ensemble_lower_bound(MEMBERS, penalty=-1), "penalty must be finite and at least 0, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
