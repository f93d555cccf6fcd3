"""References of a run file: what each kind needs, and its value from a table's row and from samples."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.references import (
    CannedReference,
    ConstantReference,
    DatasetReference,
    DrawsReference,
    MeanReference,
    MedianReference,
    NoReference,
    PredictedReference,
    QuantileReference,
    Reference,
)
from pipelines.references.build import statistics

NAN = math.nan


def from_samples(reference: Reference, rewards: list[list[float]], of_texts: float | None = None) -> list[float]:
    return reference.from_samples(np.array(rewards), None if of_texts is None else np.array([of_texts])).tolist()


def test_values_from_samples_by_hand() -> None:
    rewards = [[0.0, 1.0, 2.0]]  # mean 1, std (ddof 1) 1
    assert from_samples(QuantileReference(quantile=0.85), rewards) == pytest.approx([1 + 1.036433389])
    assert from_samples(QuantileReference(quantile=0.5, method="empirical"), rewards) == [1.0]
    assert from_samples(MeanReference(), rewards) == [1.0]
    assert from_samples(ConstantReference(value=3.0), rewards) == [3.0]
    assert from_samples(NoReference(), rewards) == [0.0]
    assert from_samples(CannedReference(replies=["no."]), rewards, 7.0) == [7.0]


def test_values_of_other_kinds_from_samples() -> None:
    rewards = [[0.0, 1.0, 5.0]]
    assert from_samples(MedianReference(), rewards) == [1.0]
    assert from_samples(DrawsReference(num=2), rewards) == [0.5]
    assert from_samples(DatasetReference(), rewards, 4.0) == [4.0]
    gaussian = from_samples(QuantileReference(quantile=0.85), rewards)
    assert from_samples(PredictedReference(quantile=0.85), rewards) == gaussian


def test_failed_scores_are_left_out_and_too_few_give_no_reference() -> None:
    rewards = [[0.0, NAN, 2.0], [NAN, 4.0, NAN], [NAN, NAN, NAN]]
    assert from_samples(MeanReference(), rewards) == pytest.approx([1.0, 4.0, NAN], nan_ok=True)
    assert from_samples(MedianReference(), rewards) == pytest.approx([1.0, NAN, NAN], nan_ok=True)
    assert from_samples(QuantileReference(quantile=0.5), rewards) == pytest.approx([1.0, NAN, NAN], nan_ok=True)


@given(st.integers(0, 1_000), st.integers(2, 9), st.sampled_from([0.05, 0.85, 0.95, 0.33]))
def test_a_value_from_the_table_is_to_the_bit_that_of_its_samples(seed: int, num: int, quantile: float) -> None:
    rewards = np.random.default_rng(seed).normal(size=(3, num)).astype(np.float32).astype(np.float64)
    rewards[1, 0] = NAN  # a failed score
    rows = statistics({str(index): row.tolist() for index, row in enumerate(rewards)})
    kinds: list[Reference] = [MeanReference(), MedianReference()]
    kinds += [QuantileReference(quantile=quantile, method=method) for method in ("gaussian", "empirical")]
    for kind in kinds:
        fresh = kind.from_samples(rewards, None).tolist()
        tabled = [kind.from_table(row) for row in rows.values()]
        if isinstance(kind, QuantileReference) and kind.method == "empirical" and quantile == 0.33:
            assert tabled == [None] * 3  # which the table does not hold
        elif num > 2:  # the table has no mean of a single score
            assert tabled == fresh


def test_a_predicted_value_is_a_quantile_of_the_predicted_gaussian() -> None:
    z = NormalDist().inv_cdf(0.95)
    assert PredictedReference(quantile=0.95).from_table({"mean": 1.0, "std": 2.0}) == 1.0 + z * 2.0


def test_texts_that_were_not_scored_have_no_value() -> None:
    own, other = CannedReference(replies=["no."]), CannedReference(replies=["yes."])
    assert own.column is not None
    assert own.from_table({own.column: 2.0}) == 2.0
    assert other.from_table({own.column: 2.0}) is None
    assert DatasetReference().from_table({"dataset": None}) is None


def test_only_references_that_differ_by_prompt_need_the_table() -> None:
    assert [reference.fixed for reference in (NoReference(), ConstantReference(value=1.0))] == [0.0, 1.0]
    others: list[Reference] = [MeanReference(), QuantileReference(), CannedReference(replies=["a"])]
    assert [reference.fixed for reference in others] == [None] * 3


def test_prompts_that_are_in_no_table_need_samples_unless_texts_or_nothing_are_needed() -> None:
    without: list[Reference] = [NoReference(), ConstantReference(value=1.0), CannedReference(replies=["a"])]
    assert not any(reference.needs_samples for reference in without)
    sampled: list[Reference] = [MeanReference(), DrawsReference(), DatasetReference(), PredictedReference()]
    assert all(reference.needs_samples for reference in sampled)


def test_a_reference_has_a_short_name() -> None:
    assert QuantileReference(quantile=0.855, method="empirical").in_words == "q85.5 empirical"
    assert CannedReference(replies=["a", "b"]).in_words == "canned (2 replies)"
    assert DrawsReference(num=2).in_words == "draws (num 2)"
    assert MeanReference().in_words == "mean"
