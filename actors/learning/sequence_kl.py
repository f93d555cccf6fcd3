"""KL(pi || pi_0) of whole responses from rows of different length, as they travel: numpy, float64, in nats.

The same formulas as `allgood.kl`, which takes tensors. Rows that come from Ray's object store are read-only, which
torch warns of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from actors.messages import FloatRow
from actors.packing import Packed


def sequence_k1(logprobs: Sequence[FloatRow], reference: Sequence[FloatRow]) -> NDArray[np.float64]:
    """log pi - log pi_0 summed over each response, [rows]."""
    return _row_sums(_log_ratios(logprobs, reference))


def sequence_k3(logprobs: Sequence[FloatRow], reference: Sequence[FloatRow]) -> NDArray[np.float64]:
    """pi_0/pi - 1 - log(pi_0/pi) summed over each response, [rows]."""
    ratios = _log_ratios(logprobs, reference)
    return _row_sums(replace(ratios, values=np.expm1(-ratios.values) + ratios.values))


def controlled_kl(logprobs: Sequence[FloatRow], reference: Sequence[FloatRow]) -> float:
    """Mean KL of the responses, with the least noise that these log-probabilities allow.

    sum_t (pi_0/pi - 1) has mean 0 for responses of pi at temperature 1, and so is a control variate of k1. k1 leaves it
    out, k3 adds the whole of it; here least squares chooses how much, with an error of the order of 1 / responses.
    """
    k1 = sequence_k1(logprobs, reference)
    control = sequence_k3(logprobs, reference) - k1
    centred = control - control.mean()
    variance = float(centred @ centred)
    share = -float(centred @ k1) / variance if variance > 0 else 0.0
    return float(k1.mean() + share * control.mean())


def _log_ratios(logprobs: Sequence[FloatRow], reference: Sequence[FloatRow]) -> Packed:
    """log pi - log pi_0 of every token, all rows end to end: a step has thousands, and numpy takes its time per call.

    Raises:
        ValueError: A row has another length in one than in the other.
    """
    policy, base = Packed.of(logprobs), Packed.of(reference)
    if not np.array_equal(policy.lengths, base.lengths):
        raise ValueError("the rows of log pi and of log pi_0 have different lengths")
    return replace(policy, values=policy.values.astype(np.float64) - base.values)


def _row_sums(packed: Packed) -> NDArray[np.float64]:
    """The sum of each row, [rows]. Not by `reduceat`, which adds in another order."""
    return np.array([np.add.reduce(row) for row in packed.rows()])
