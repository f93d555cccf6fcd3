"""The optimum at a chosen KL as rows: drawn by their weights, or with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.errors import ConfigError
from pipelines.best_of_k.tilted import Tilting, drawn_by, tilted
from tests.pipelines.best_of_k.test_pairs import pool


def test_weights_are_those_of_the_optimum_at_that_kl() -> None:
    found = tilted(pool(), Tilting(0.3, rows_per_prompt=4), first=None, seed=0)
    rows = {(row["prompt_id"], row["completion"][0]["content"]): row for row in found.weighted}
    ids = list(dict.fromkeys(row["prompt_id"] for row in found.weighted))
    assert len(ids) == 3  # one prompt has a single answer with a utility
    kl = 0.0
    for key, utilities in zip(ids, [[0.5, 3.5, -2.5, 3.5], [2.5, 2.5], [0.0, -0.5]], strict=True):
        exponents = np.exp(np.array(utilities) / found.gamma)
        expected = exponents / exponents.sum()
        kl += float((expected * np.log(expected * len(expected))).sum()) / 3
        shares = np.array([rows[key, f"answer {i}"]["weight"] if (key, f"answer {i}") in rows else 0 for i in range(4)])
        np.testing.assert_allclose((shares / shares.sum())[: len(expected)], expected, atol=1e-3)
    assert kl == pytest.approx(0.3, rel=1e-6)
    assert np.mean([row["weight"] for row in found.weighted]) == pytest.approx(1.0)


def test_every_prompt_weighs_the_same_and_gives_as_many_rows() -> None:
    found = tilted(pool(), Tilting(0.3, rows_per_prompt=5), first=None, seed=0)
    ids = [row["prompt_id"] for row in found.drawn]
    assert [ids.count(key) for key in dict.fromkeys(ids)] == [5, 5, 5]
    totals: dict[str, float] = {}
    for row in found.weighted:
        totals[row["prompt_id"]] = totals.get(row["prompt_id"], 0.0) + row["weight"]
    np.testing.assert_allclose(list(totals.values()), len(found.weighted) / 3)
    assert found.drawn[0].keys() >= {"prompt", "completion", "utility", "p_good.long"}


def test_few_answers_are_said_to_be_unreliable_and_too_few_are_refused() -> None:
    assert not tilted(pool(), Tilting(0.3), first=None, seed=0).reliable
    with pytest.raises(ConfigError, match="--tilt-kl: target_kl must be below"):
        tilted(pool(), Tilting(2.0), first=None, seed=0)


@given(
    st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=20),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_an_answer_is_drawn_as_often_as_it_weighs_rounded_down_or_up(sizes: list[float], count: int, seed: int) -> None:
    weights = np.array(sizes) / np.sum(sizes)
    drawn = drawn_by(weights, count, np.random.default_rng(seed))
    times = np.bincount(drawn, minlength=len(sizes))
    assert times.sum() == count
    assert (np.abs(times - count * weights) < 1 + 1e-6).all()


def test_on_average_an_answer_is_drawn_as_often_as_it_weighs() -> None:
    weights = np.array([0.62, 0.3, 0.08])
    generator = np.random.default_rng(0)
    times = np.mean([np.bincount(drawn_by(weights, 3, generator), minlength=3) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(times / 3, weights, atol=0.01)
