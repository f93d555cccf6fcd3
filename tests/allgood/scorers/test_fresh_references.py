"""References from fresh samples: the estimators of the table, asked once per prompt while it is remembered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from allgood.errors import ModelError
from allgood.objectives import WeightedSum
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.fresh_references import FromSamples, merged, reference_of_samples
from allgood.scorers.reference_files import References
from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec, RewardsSpec, SamplesSpec, StartPolicySpec
from allgood.scorers.scorer import Scored
from allgood.scorers.spec import FunctionSpec

LENGTH = FunctionSpec("tests.allgood.scorers.test_all_good_scorer:length")
NAN = float("nan")


class Length:
    """The number of letters, and how often somebody asked."""

    def __init__(self) -> None:
        self.num_calls = 0

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        self.num_calls += 1
        return Scored(np.array([len(response) for response in responses], dtype=np.float32))


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


def test_a_prompt_is_sampled_once_while_it_is_remembered() -> None:
    asked: list[str] = []

    def sample(prompt_id: str, prompt: str) -> list[str]:
        asked.append(prompt_id)
        if prompt == "far too long":
            raise ModelError("nothing of the prompt fits")
        return [prompt, prompt + "??"]

    scorer = Length()
    source = FromSamples(sample, scorer, SamplesSpec("mean"), num_remembered=2)
    assert source.name == "samples"
    assert source.find({"a": "tea", "b": "mate"}).values == {"a": 4.0, "b": 5.0}
    assert source.find({"a": "tea"}).values == {"a": 4.0}
    assert asked == ["a", "b"]
    assert source.find({"c": "far too long"}) == References({})
    assert source.find({"c": "far too long"}) == References({})
    assert asked == ["a", "b", "c"]
    assert source.find({"a": "tea"}).values == {"a": 4.0}  # "b" was asked for longest ago, and went for "c"
    assert asked == ["a", "b", "c"]
    source.find({"b": "mate"})
    assert asked == ["a", "b", "c", "b"]
    assert scorer.num_calls == 3


def test_parts_are_put_together() -> None:
    parts = [References({"a": 1.0}, {"a": np.float32([1.0])}), References({}), References({"b": 2.0})]
    found = merged(parts)
    assert dict(found.values) == {"a": 1.0, "b": 2.0}
    assert list(found.draws) == ["a"]


def scorer_of(transform: str, samples: SamplesSpec, **sources: FromSamples) -> AllGoodScorer:
    reference = ReferenceSpec(samples=samples, fallback=None if samples.num else 100.0)
    properties = {"long": PropertySpec(LENGTH, reference, transform)}
    policy = StartPolicySpec("owner/policy", num_samples=2)
    spec = RewardsSpec(properties, WeightedSum({"long": 1.0}), start_policy=policy)
    return AllGoodScorer(spec, samples=sources)


def test_samples_come_before_the_fallback() -> None:
    source = FromSamples(lambda key, prompt: ["a", "abc"], Length(), SamplesSpec("mean"), num_remembered=8)
    scores = scorer_of("identity", SamplesSpec("mean"), long=source).score(["Tea?"], ["tepid"])
    assert scores.reference_from == {"long": ("samples",)}
    assert scores.total.tolist() == [3.0]  # 5 - (1 + 3) / 2
    assert scorer_of("identity", SamplesSpec("mean")).score(["Tea?"], ["a"]).reference_from == {"long": ("fallback",)}


def test_a_transform_may_compare_with_the_samples_themselves() -> None:
    samples = SamplesSpec("draws", num=2)
    source = FromSamples(lambda key, prompt: ["a", "abc"], Length(), samples, num_remembered=8)
    scores = scorer_of("mean_sigmoid", samples, long=source).score(["Tea?"], ["ab"])
    # (sigmoid(2 - 1) + sigmoid(2 - 3)) / 2
    assert scores.total.tolist() == pytest.approx([0.5])
    alone = scorer_of("mean_sigmoid", samples).score(["Tea?"], ["ab"])
    assert not alone.ok[0]
    assert alone.reasons[0] is not None
    assert "only `allgood serve` and actors draw" in alone.reasons[0]
