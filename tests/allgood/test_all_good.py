"""The central act from end to end: failures, shapes and penalties; and that it is what a run's reward actors do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Chunk, Experience, LogProbs, Rollout
from actors.reward import RewardSpec, RewardWorker
from allgood.all_good import AllGood
from allgood.conversations import prompt_id
from allgood.errors import ReferenceTableError
from allgood.formula import Formula
from allgood.objectives import FormulaUtility, Lagrangian, Objective, WeightedSum
from allgood.scorers.loading import load_scorer
from allgood.scorers.scorer import Scored
from allgood.scorers.spec import FunctionSpec, ModelSpec, ScorerSpec
from allgood.treatment import Treatment
from pipelines.cast.experience import judged
from tests.actors import tiny_models

NAN = float("nan")
BOTH = FormulaUtility(Formula("a & b"))


def lsc(objective: Objective = BOTH, **changes: float) -> AllGood:
    return AllGood({"a": Treatment(), "b": Treatment(references={"x": 1.0, "y": 0.0})}, objective, **changes)


def test_rewards_become_log_p_all_good_by_hand() -> None:
    found = lsc().of_rewards({"a": np.float32([2.0, 0.0]), "b": np.float32([1.0, NAN])}, ["x", "y"])
    # log sigma(2) + log sigma(0)
    np.testing.assert_allclose(found.utilities, [-0.126928 - 0.693147, NAN], rtol=1e-5)
    assert found.failed.tolist() == [False, True]
    assert found.p_all_good is not None
    np.testing.assert_allclose(found.p_all_good, [0.880797 * 0.5, NAN], rtol=1e-5)


def test_a_failure_counts_only_where_the_objective_needs_the_property() -> None:
    rewards = {"a": np.float32([0.0, NAN, 0.0]), "b": np.float32([NAN, 0.0, 0.0])}
    assert lsc().of_rewards(rewards, ["x"] * 3).failed.tolist() == [True, True, False]
    only_a = lsc(FormulaUtility(Formula("a"))).of_rewards(rewards, ["x"] * 3)
    assert only_a.failed.tolist() == [False, True, False]


@given(st.integers(0, 1000))
def test_rows_and_prompts_by_samples_are_the_same_bits(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rewards = {name: generator.normal(size=(2, 5), scale=4).astype(np.float32) for name in "ab"}
    grid = lsc().of_rewards(rewards, ["x", "y"])
    rows = lsc().of_rewards({name: values.ravel() for name, values in rewards.items()}, ["x"] * 5 + ["y"] * 5)
    np.testing.assert_array_equal(grid.utilities.ravel(), rows.utilities)
    np.testing.assert_array_equal(grid.properties["b"].margins.ravel(), rows.properties["b"].margins)


def test_the_penalty_for_a_missing_end_comes_after_the_transform_and_is_no_part_of_p() -> None:
    rewards, cut = {name: np.float32([0.5, 0.5]) for name in "ab"}, np.array([False, True])
    plain, penalised = lsc(), lsc(missing_eos_penalty=0.75)
    found = penalised.of_rewards(rewards, ["y", "y"], was_cut=cut)
    expected = plain.of_rewards(rewards, ["y", "y"])
    np.testing.assert_allclose(found.utilities - expected.utilities, [0.0, -0.75], atol=1e-6)
    np.testing.assert_array_equal(found.p_all_good, expected.p_all_good)
    with pytest.raises(ValueError, match=r"penalty is 0\.75, so was_cut must say"):
        penalised.of_rewards(rewards, ["y", "y"])
    with pytest.raises(ValueError, match="at least 0, got -1"):
        lsc(missing_eos_penalty=-1.0)


@pytest.mark.parametrize("objective", [FormulaUtility(Formula("a^0.5 & b")), WeightedSum({"a": 1.0, "b": 1.0})])
def test_only_an_untempered_formula_says_a_probability(objective: Objective) -> None:
    found = lsc(objective).of_rewards({name: np.float32([0.0]) for name in "ab"}, ["y"])
    assert found.p_all_good is None


def test_multipliers_change_a_lagrangian_and_nothing_else() -> None:
    priced = lsc(Lagrangian("a", {"b": 0.0}, {"b": 1.0}))
    rewards = {name: np.float32([0.0]) for name in "ab"}
    found = [part.of_rewards(rewards, ["y"]).utilities[0] for part in (priced, priced.at({"b": 0.0}))]
    assert found[0] == pytest.approx(2 * found[1])
    assert lsc().at({"b": 0.0}) == lsc()


def test_what_is_missing_or_of_another_shape_is_refused() -> None:
    a, b = np.float32([0.0, 0.0]), np.float32([[0.0], [0.0]])
    for rewards, ids, message in (
        ({"a": a}, ["x", "y"], r"there are no rewards of property 'b'; given are: a"),
        ({"a": a, "b": a}, ["x"], r"rewards of 'a' have shape \(2,\), .*1 prompt ids"),
        ({"a": a, "b": b}, ["x", "y"], r"must all have one shape, got \{'a': \(2,\), 'b': \(2, 1\)\}"),
    ):
        with pytest.raises(ValueError, match=message):
            lsc().of_rewards(rewards, ids)
    with pytest.raises(ReferenceTableError, match="no reference of property 'b' for prompt 'z'"):
        lsc().of_rewards({"a": a, "b": a}, ["x", "z"])
    with pytest.raises(ValueError, match=r"properties\.a\.transform is identity"):
        AllGood({"a": Treatment(transform="identity")}, FormulaUtility(Formula("a")))


def length_reward(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Characters over 10; an empty response cannot be judged."""
    return [len(response) / 10 if response else NAN for response in responses]


class Recorded:
    """A scorer of one's own: anything with `score`."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        return Scored(np.float32([len(prompt) for prompt in prompts]))


def test_texts_are_scored_by_anything_that_scores_and_known_by_their_prompt() -> None:
    prompts = ["\n\nHuman: Hi\n\nAssistant:", "\n\nHuman: Hello\n\nAssistant:"]
    references = {prompt_id(prompt): float(len(prompt)) for prompt in prompts}
    found = AllGood({"a": Treatment(references=references)}, FormulaUtility(Formula("a"))).of_texts(
        {"a": Recorded()}, prompts, ["x", "y"]
    )
    np.testing.assert_allclose(found.utilities, [np.log(0.5)] * 2, rtol=1e-6)  # every margin is 0


def test_the_numbers_are_those_of_a_runs_reward_actors_to_the_bit(tmp_path: Path) -> None:
    specs: dict[str, ScorerSpec] = {
        "helpful": ModelSpec(tiny_models.save_scorer(tmp_path)),
        "short": FunctionSpec("tests.allgood.test_all_good:length_reward"),
    }
    all_good = AllGood(
        {
            "helpful": Treatment("run", "log_sigmoid", {"p": 0.25, "q": -1.0, "r": 0.0}, temperature=1.5),
            "short": Treatment("run", "log_sigmoid", 2.0),
        },
        FormulaUtility(Formula("helpful & ~short")),
        missing_eos_penalty=0.5,
    )
    responses = (*tiny_models.RESPONSES, "", *tiny_models.RESPONSES[:2])
    reasons = ("eos", "length", "stop", "eos", "length", "eos")
    chunk = Chunk(0, 0, 0, 0, ("p", "q", "r"), tuple(tiny_models.PROMPTS), 2)
    rollout = Rollout(chunk, (), (), (), (), responses, reasons, 0, 0.0)
    scores = {}
    for name, spec in specs.items():
        worker = RewardWorker(RewardSpec(name, spec))
        worker.set_treatment(all_good.properties[name])
        scores[name] = worker.score(rollout, "run")
    of_actors = judged([Experience(rollout, scores, LogProbs((), 0.0))], all_good)

    rows = [(prompt, key) for prompt, key in zip(tiny_models.PROMPTS, "pqr", strict=True) for _ in range(2)]
    found = all_good.of_texts(
        {name: load_scorer(spec) for name, spec in specs.items()},
        [prompt for prompt, _ in rows],
        responses,
        prompt_ids=[key for _, key in rows],
        was_cut=np.array([reason == "length" for reason in reasons]),
    )
    assert found.failed.tolist() == [False, False, False, True, False, False]  # the empty response
    np.testing.assert_array_equal(found.utilities, of_actors.utilities)
    for name, view in found.properties.items():
        for field in ("rewards", "references", "margins", "utilities"):
            np.testing.assert_array_equal(getattr(view, field), getattr(of_actors.properties[name], field))
