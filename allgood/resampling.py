"""Resampling of clusters with replacement: the one bootstrap beneath every interval over prompts.

Rows of one cluster (samples or pairs of one prompt) are alike, so the cluster is what is drawn, with all its rows. A
resample's mean is a ratio of two sums: every row counts the same, in clusters of different size too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WEIGHTS_AT_ONCE = 2_000_000  # so that memory stays bounded


def resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], *, generator: np.random.Generator, num_resamples: int
) -> NDArray[np.float64]:
    """Means over the rows of resampled clusters, [resamples, entries].

    Args:
        sums: Sum of each entry over a cluster's rows, [clusters, entries].
        counts: Number of those rows, [clusters, entries]; 0 where a cluster has no value of an entry.
        generator: Is advanced. All entries share the draws, so their differences stay paired.
        num_resamples: At least 1.

    Returns:
        NaN where a resample has no row of an entry.

    Raises:
        ValueError: No cluster, shapes differ, or num_resamples below 1.

    >>> ones = np.ones((3, 1))
    >>> resampled_means(2 * ones, ones, generator=np.random.default_rng(0), num_resamples=2)
    array([[2.],
           [2.]])
    """
    if sums.ndim != 2 or sums.shape != counts.shape or sums.size == 0:
        raise ValueError(
            f"sums and counts must both be non-empty [clusters, entries], got shapes {sums.shape} and {counts.shape}"
        )
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    num_clusters = len(sums)
    shares = np.full(num_clusters, 1 / num_clusters)
    rows_at_once = max(1, _WEIGHTS_AT_ONCE // num_clusters)
    means = []
    for start in range(0, num_resamples, rows_at_once):
        rows = min(rows_at_once, num_resamples - start)
        weights = generator.multinomial(num_clusters, shares, size=rows)
        with np.errstate(invalid="ignore"):  # 0 / 0: the NaN that is promised above
            means.append((weights @ sums) / (weights @ counts))
    return np.concatenate(means)
