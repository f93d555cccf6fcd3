"""A bootstrap interval of a mean over rows that come in clusters of unlike size (pairs of one prompt are alike).

`allgood.intervals.cluster_bootstrap` weighs every prompt the same; here every row counts the same, as in an
accuracy over pairs, so a resample's mean is a ratio of two sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allgood.resampling import resampled_means


def mean_interval(
    values: NDArray[np.float64], clusters: Sequence[str], *, num_bootstrap: int, seed: int, level: float = 0.95
) -> list[float] | None:
    """Percentile interval [low, high] of the mean of `values` [rows], resampling whole clusters with replacement.

    None where there is a single cluster, which shows no spread.
    """
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    if index.max() == 0:
        return None
    sums, counts = (np.bincount(index, weights=each).astype(np.float64)[:, None] for each in (values, None))
    means = resampled_means(sums, counts, generator=np.random.default_rng(seed), num_resamples=num_bootstrap)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]
