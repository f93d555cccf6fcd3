"""KL of responses in numpy against `allgood.kl`."""

import numpy as np
import pytest
import torch

from actors.sequence_kl import sequence_k1, sequence_k3
from allgood.kl import k1, k3


def test_agrees_with_the_per_token_formulas_on_rows_of_unlike_length():
    generator = np.random.default_rng(0)
    lengths = (1, 7, 40)
    logprobs = [-generator.exponential(size=length).astype(np.float32) for length in lengths]
    reference = [-generator.exponential(size=length).astype(np.float32) for length in lengths]

    def summed(estimator):
        rows = zip(logprobs, reference, strict=True)
        return [float(estimator(torch.tensor(row), torch.tensor(ref)).sum()) for row, ref in rows]

    assert sequence_k1(logprobs, reference) == pytest.approx(summed(k1), rel=1e-5)
    assert sequence_k3(logprobs, reference) == pytest.approx(summed(k3), rel=1e-5)


def test_the_same_policy_has_no_kl_and_k3_is_never_negative():
    rows = [np.array([-1.0, -2.0], dtype=np.float32), np.array([-0.5], dtype=np.float32)]
    other = [row - np.float32(1e-3) for row in rows]
    assert sequence_k1(rows, rows).tolist() == sequence_k3(rows, rows).tolist() == [0.0, 0.0]
    assert (sequence_k3(rows, other) > 0).all()
    assert (sequence_k3(other, rows) > 0).all()
