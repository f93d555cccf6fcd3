"""KL of responses in numpy against `allgood.kl`."""

import numpy as np
import pytest
import torch

from actors.learning.sequence_kl import controlled_kl, sequence_k1, sequence_k3
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


POLICY = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])  # two tokens per response, three choices each
REFERENCE = np.array([[0.3, 0.5, 0.2], [0.5, 0.3, 0.2]])


def sampled(generator: np.random.Generator, num_responses: int):
    """Log-probabilities of responses of POLICY under itself and under REFERENCE, a row per response."""
    draws = np.stack([generator.choice(3, size=num_responses, p=row) for row in POLICY], axis=1)
    positions = np.arange(2)
    return list(np.log(POLICY)[positions, draws]), list(np.log(REFERENCE)[positions, draws])


def test_the_controlled_kl_is_right_and_less_noisy_than_k1_and_k3():
    generator = np.random.default_rng(0)
    exact = float((POLICY * np.log(POLICY / REFERENCE)).sum())
    drawn = [sampled(generator, 200) for _ in range(500)]
    controlled = np.array([controlled_kl(*draw) for draw in drawn])
    others = [np.array([estimator(*draw).mean() for draw in drawn]) for estimator in (sequence_k1, sequence_k3)]
    assert controlled.mean() == pytest.approx(exact, abs=4 * controlled.std() / 500**0.5)
    assert controlled.std() < 0.8 * min(other.std() for other in others)


def test_the_controlled_kl_of_the_same_policy_is_0():
    rows = [np.array([-1.0, -2.0], dtype=np.float32), np.array([-0.5], dtype=np.float32)]
    assert controlled_kl(rows, rows) == 0.0
