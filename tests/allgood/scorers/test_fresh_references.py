"""References from fresh samples: the estimators of the table, asked once per prompt while it is remembered."""

from __future__ import annotations

import numpy as np
import pytest

from allgood.scorers.fresh_references import merged, reference_of_samples
from allgood.scorers.reference_files import References
from allgood.scorers.rewards_spec import SamplesSpec
from allgood.scorers.spec import FunctionSpec

LENGTH = FunctionSpec("tests.allgood.scorers.test_all_good_scorer:length")
NAN = float("nan")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (SamplesSpec("mean"), 3.0),  # (1 + 2 + 6) / 3
        (SamplesSpec("median"), 2.0),
        (SamplesSpec("empirical_quantile", 0.75), 4.0),  # half way from 2 to 6
        (SamplesSpec("gaussian_quantile", 0.5), 3.0),  # the mean
        (SamplesSpec("gaussian_quantile", 0.841344746), 3.0 + 7**0.5),  # one standard deviation above: (4 + 1 + 9) / 2
        (SamplesSpec("draws", num=2), 1.5),  # (1 + 2) / 2
    ],
)
def test_an_estimator_leaves_out_what_could_not_be_scored(samples: SamplesSpec, expected: float) -> None:
    found = reference_of_samples(samples, "tea", np.float32([1.0, NAN, 2.0, 6.0]))
    assert found.values["tea"] == pytest.approx(expected, abs=1e-6)
    draws = {} if samples.num is None else {"tea": [1.0, 2.0]}
    assert {key: row.tolist() for key, row in found.draws.items()} == draws


@pytest.mark.parametrize(
    ("samples", "rewards"),
    [
        (SamplesSpec("mean"), [NAN, NAN]),
        (SamplesSpec("median"), [1.0, NAN]),
        (SamplesSpec("gaussian_quantile", 0.85), [NAN, 1.0]),
        (SamplesSpec("draws", num=2), [1.0, NAN]),
    ],
)
def test_with_too_few_scores_there_is_no_reference(samples: SamplesSpec, rewards: list[float]) -> None:
    assert reference_of_samples(samples, "tea", np.float32(rewards)) == References({})


@pytest.mark.parametrize(
    ("estimator", "quantile", "num", "words"),
    [
        ("mean", 0.5, None, "`quantile` belongs to"),
        ("gaussian_quantile", None, None, "`quantile` belongs to"),
        ("gaussian_quantile", 1.5, None, "between 0 and 1"),
        ("draws", None, None, "`num` belongs to"),
        ("mean", None, 3, "`num` belongs to"),
    ],
)
def test_an_estimator_has_its_own_number_and_no_other(
    estimator: str, quantile: float | None, num: int | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        SamplesSpec(estimator, quantile, num)  # type: ignore[arg-type]


def test_parts_are_put_together() -> None:
    parts = [References({"a": 1.0}, {"a": np.float32([1.0])}), References({}), References({"b": 2.0})]
    found = merged(parts)
    assert dict(found.values) == {"a": 1.0, "b": 2.0}
    assert list(found.draws) == ["a"]
