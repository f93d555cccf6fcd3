import math
from itertools import product

import pytest
import torch

from allgood import kl

LOGPROB = torch.tensor([[-1.0, -2.0]])
REF_LOGPROB = torch.tensor([[-1.5, -1.0]])


def test_estimators_by_hand():
    # log ratios 0.5 and -1
    assert kl.k1(LOGPROB, REF_LOGPROB).tolist() == [[0.5, -1.0]]
    assert kl.k2(LOGPROB, REF_LOGPROB).tolist() == [[0.125, 0.5]]
    expected = [math.exp(-0.5) - 1 + 0.5, math.exp(1) - 1 - 1]
    assert kl.k3(LOGPROB, REF_LOGPROB)[0].tolist() == pytest.approx(expected)


def test_full_by_hand_and_with_impossible_tokens():
    p, q = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.25, 0.5, 0.25]])
    found = kl.full(p.log(), q.log())
    assert found.tolist() == [pytest.approx(0.5 * math.log(2))]
    # One that pi_0 excludes as well, as under a shared mask.
    assert kl.full(p.log(), torch.tensor([[0.5, 0.5, 0.0]]).log()).tolist() == [0.0]


def test_k1_and_k3_are_unbiased_and_k3_is_never_negative():
    generator = torch.Generator().manual_seed(0)
    log_p = torch.randn(5, generator=generator, dtype=torch.float64).log_softmax(0)
    log_q = torch.randn(5, generator=generator, dtype=torch.float64).log_softmax(0)
    exact = kl.full(log_p, log_q)
    for estimator in (kl.k1, kl.k3):
        torch.testing.assert_close((log_p.exp() * estimator(log_p, log_q)).sum(), exact)
    assert (kl.k3(log_p, log_q) >= 0).all()


def test_k3_keeps_small_differences():
    found = kl.k3(torch.tensor([-1.0], dtype=torch.float64), torch.tensor([-1.0 - 1e-5], dtype=torch.float64))
    assert found.item() == pytest.approx(0.5e-10, rel=1e-4)


def test_half_precision_is_computed_in_float32():
    assert kl.k3(LOGPROB.bfloat16(), REF_LOGPROB.bfloat16()).dtype == torch.float32
    assert kl.full(LOGPROB.half(), REF_LOGPROB.half()).dtype == torch.float32


def test_gradients_are_right():
    logprob = LOGPROB.double().requires_grad_()
    for estimator in (kl.k1, kl.k2, kl.k3):
        assert torch.autograd.gradcheck(lambda x, f=estimator: f(x, REF_LOGPROB.double()), (logprob,))
    assert torch.autograd.gradcheck(lambda x: kl.full(x.log_softmax(-1), REF_LOGPROB.double()), (logprob,))


def test_unlike_shapes_are_refused():
    for estimator in (kl.k1, kl.k2, kl.k3):
        with pytest.raises(
            ValueError, match=r"logprob and ref_logprob must have the same shape, got \(1, 2\) and \(2,\)"
        ):
            estimator(LOGPROB, REF_LOGPROB[0])
    with pytest.raises(ValueError, match="logprobs and ref_logprobs must have the same shape"):
        kl.full(LOGPROB, REF_LOGPROB[0])


def test_every_choice_says_whether_it_is_exact():
    choices = [*product(("k1", "k2", "k3", "full"), ("reward", "loss")), ("k2_sequence", "loss")]
    exact = [chosen for chosen in choices if kl.choice(*chosen).is_exact]
    assert exact == [("k1", "reward"), ("k2_sequence", "loss")]
    assert "no expected gradient" in kl.choice("k1", "loss").note


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="no KL choice 'k4' as 'reward'"):
        kl.choice("k4", "reward")
