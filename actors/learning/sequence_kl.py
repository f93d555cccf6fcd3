"""KL(pi || pi_0) of whole responses from rows of different length, as they travel: numpy, float64, in nats.

The same formulas as `allgood.kl`, which takes tensors. Rows that come from Ray's object store are read-only, which
torch warns of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actors.messages import FloatRow


def sequence_k1(logprobs: Sequence[FloatRow], reference: Sequence[FloatRow]) -> NDArray[np.float64]:
    """log pi - log pi_0 summed over each response, [rows]."""
    return np.array([np.sum(row) for row in _log_ratios(logprobs, reference)])


def sequence_k3(logprobs: Sequence[FloatRow], reference: Sequence[FloatRow]) -> NDArray[np.float64]:
    """pi_0/pi - 1 - log(pi_0/pi) summed over each response, [rows]."""
    return np.array([np.sum(np.expm1(-row) + row) for row in _log_ratios(logprobs, reference)])


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


def _log_ratios(logprobs: Sequence[FloatRow], reference: Sequence[FloatRow]) -> list[NDArray[np.float64]]:
    return [row.astype(np.float64) - ref for row, ref in zip(logprobs, reference, strict=True)]
