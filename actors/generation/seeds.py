"""Random numbers that belong to a sample, not to a process.

A chunk's seed is a function of (run seed, step, chunk index), and the uniform number behind a token is a function of
(chunk seed, sample, position). So whoever computes a chunk again, in whatever batch, draws the same numbers. Samples
outside a run are seeded by their prompt.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_MASK_64 = (1 << 64) - 1


def chunk_seed(run_seed: int, step: int, index: int) -> int:
    """The 64-bit seed of chunk `index` of step `step`. Stable over processes, machines and versions of Python."""
    digest = hashlib.sha256(f"allgood chunk {run_seed} {step} {index}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def prompt_seed(seed: int, prompt_id: str) -> int:
    """The 64-bit seed of samples that are drawn for one prompt alone, whenever somebody asks for it."""
    digest = hashlib.sha256(f"allgood prompt {seed} {prompt_id}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def uniforms(seed: int, num_samples: int, num_tokens: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), shape [samples, tokens], keyed by (seed, sample, position).

    Entry [s, t] does not depend on how many rows or columns are asked for. The numbers have 52 bits, so that
    u * total < total holds in float64 for every total > 0, which inverse-CDF sampling relies on.

    Args:
        seed: 64-bit chunk seed.
        num_samples: Rows of the chunk.
        num_tokens: Positions of a response.
    """
    rows = [_uniform_row(seed & _MASK_64, sample, num_tokens) for sample in range(num_samples)]
    return np.stack(rows) if rows else np.empty((0, num_tokens))


def _uniform_row(seed: int, sample: int, num_tokens: int) -> NDArray[np.float64]:
    # Philox counts blocks of a row in the lowest counter word; the sample stands in the highest, so rows never overlap.
    counter = np.array([0, 0, 0, sample], dtype=np.uint64)
    bits = np.random.Philox(key=seed, counter=counter).random_raw(num_tokens)
    return (bits >> np.uint64(12)).astype(np.float64) * 2.0**-52
