"""KL(pi || pi_0) of whole responses from rows of unlike length, as they travel: numpy, float64, in nats.

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


def _log_ratios(logprobs: Sequence[FloatRow], reference: Sequence[FloatRow]) -> list[NDArray[np.float64]]:
    return [row.astype(np.float64) - ref for row, ref in zip(logprobs, reference, strict=True)]
