"""Resampling of clusters: ratios of sums, shared draws, missing values, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from allgood import resampling
from allgood.resampling import resampled_means


def draws(sums: list[list[float]], counts: list[list[float]], num_resamples: int = 400) -> np.ndarray:
    generator = np.random.default_rng(0)
    return resampled_means(np.array(sums), np.array(counts), generator=generator, num_resamples=num_resamples)


def test_every_resample_of_two_clusters_is_one_of_three_means() -> None:
    # Clusters (1 row: 3) and (2 rows: 0, 0): drawn twice each, or once both: 3, 0, (3 + 0) / 3 = 1.
    means = draws([[3.0], [0.0]], [[1.0], [2.0]])
    assert means.shape == (400, 1)
    assert set(np.unique(means)) == {0.0, 1.0, 3.0}
    assert np.mean(means == 1.0) == pytest.approx(0.5, abs=0.1)


def test_entries_share_their_draws() -> None:
    means = draws([[1.0, 3.0], [2.0, 6.0], [4.0, 12.0]], [[1.0, 1.0]] * 3)
    assert means[:, 1] == pytest.approx(3 * means[:, 0])


def test_a_resample_without_a_value_has_no_mean() -> None:
    means = draws([[1.0, 5.0], [2.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]])
    assert np.isfinite(means[:, 0]).all()
    assert np.isnan(means[:, 1]).mean() == pytest.approx(0.25, abs=0.08)
    assert set(means[np.isfinite(means[:, 1]), 1]) == {5.0}


def test_pieces_change_no_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(1).normal(size=(7, 2)).tolist()
    whole = draws(sums, [[1.0, 1.0]] * 7)
    monkeypatch.setattr(resampling, "_WEIGHTS_AT_ONCE", 21)
    assert (draws(sums, [[1.0, 1.0]] * 7) == whole).all()
