"""The reward worker: raw rewards, treatments, refusals; against plain transformers and through Ray."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import ray

from actors.messages import Chunk, Rollout
from actors.reward import RewardSpec, RewardWorker
from allgood.errors import ConfigError, ModelError, ReferenceTableError, RoleError
from allgood.scorers.combination import LowerBound
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, FunctionSpec, ModelSpec
from allgood.treatment import Treatment
from tests.actors import tiny_models

PROMPTS, RESPONSES = tiny_models.PROMPTS, tiny_models.RESPONSES


def rollout(responses=tuple(RESPONSES[:2] * 2 + RESPONSES[1:]), samples=2):
    """Three prompts, two responses each; only texts matter to a reward worker."""
    chunk = Chunk(0, 0, 0, 0, ("a", "b", "c"), tuple(PROMPTS), samples)
    return Rollout(chunk, (), (), (), (), tuple(responses), (), 0, 0.0)


def length_reward(prompts, responses):
    """Characters of the response over 10; an empty one cannot be judged."""
    return [len(response) / 10 if response else math.nan for response in responses]


def two_rewards(prompts, responses):
    return [0.0, 1.0]


@pytest.fixture
def by_length():
    return RewardWorker(RewardSpec("short", FunctionSpec("tests.actors.test_reward:length_reward")))


def test_scores_hold_reward_reference_margin_and_log_sigmoid_utility(by_length):
    by_length.set_treatment(Treatment("arm", "log_sigmoid", {"a": 1.0, "b": 2.0, "c": -1.0, "unused": 9.0}))
    scores = by_length.score(rollout(), "arm")
    expected = np.array([len(response) / 10 for response in rollout().responses], dtype=np.float32)
    references = np.array([1, 1, 2, 2, -1, -1], dtype=np.float32)
    np.testing.assert_array_equal(scores.view.rewards, expected)
    np.testing.assert_array_equal(scores.view.references, references)
    np.testing.assert_array_equal(scores.view.margins, expected - references)
    np.testing.assert_allclose(scores.view.utilities, -np.log1p(np.exp(-(expected - references))), rtol=1e-5)
    assert scores.property == "short"
    assert {
        array.dtype
        for array in (scores.view.rewards, scores.view.references, scores.view.margins, scores.view.utilities)
    } == {np.dtype(np.float32)}


def test_identity_keeps_margins_and_a_number_serves_every_prompt(by_length):
    by_length.set_treatment(Treatment("raw", "identity", 0.5))
    scores = by_length.score(rollout(), "raw")
    np.testing.assert_array_equal(scores.view.utilities, scores.view.margins)
    np.testing.assert_array_equal(scores.view.references, np.full(6, 0.5, dtype=np.float32))


def test_the_temperature_divides_rewards_and_references(by_length):
    by_length.set_treatment(Treatment("calibrated", "identity", 0.5, temperature=2.0))
    scores = by_length.score(rollout(), "calibrated")
    np.testing.assert_allclose(scores.view.margins, (scores.view.rewards - 0.5) / 2.0, rtol=1e-6)
    np.testing.assert_allclose(scores.view.utilities, scores.view.margins, rtol=1e-6)


def test_treatments_live_side_by_side(by_length):
    by_length.set_treatment(Treatment("raw", "identity", 0.0))
    by_length.set_treatment(Treatment("lsc", "log_sigmoid", 1.0))
    raw, lsc = by_length.score(rollout(), "raw"), by_length.score(rollout(), "lsc")
    np.testing.assert_array_equal(raw.view.rewards, lsc.view.rewards)
    assert (raw.view.utilities > 0).any()
    assert (lsc.view.utilities < 0).all()


def test_a_treatment_that_is_forgotten_leaves_the_others(by_length):
    by_length.set_treatment(Treatment("raw", "identity", 0.0))
    by_length.set_treatment(Treatment("lsc", "log_sigmoid", 1.0))
    for key in ("raw", "raw", "never set"):
        by_length.forget(key)
    assert (by_length.score(rollout(), "lsc").view.utilities < 0).all()
    with pytest.raises(RoleError, match="no treatment 'raw'"):
        by_length.score(rollout(), "raw")


def test_a_failed_score_is_nan_everywhere_and_never_zero(by_length):
    by_length.set_treatment(Treatment("arm", "log_sigmoid", 1.0))
    scores = by_length.score(rollout(["good", "", "x", "y", "z", "w"]), "arm")
    for array in (scores.view.rewards, scores.view.references, scores.view.margins, scores.view.utilities):
        assert np.isnan(array).tolist() == [False, True, False, False, False, False]


def test_log_prob_takes_log_probabilities(tmp_path):
    folder = tiny_models.save_scorer(tmp_path, num_labels=2)
    worker = RewardWorker(RewardSpec("kind", ClassifierSpec(folder)))
    worker.set_treatment(Treatment("arm", "log_prob", 0.0))
    scores = worker.score(rollout(), "arm")
    np.testing.assert_array_equal(scores.view.utilities, scores.view.rewards)
    assert (scores.view.utilities < 0).all()


def test_a_prompt_without_a_reference_is_named(by_length):
    by_length.set_treatment(Treatment("arm", "identity", {"a": 1.0, "c": 1.0}))
    with pytest.raises(ReferenceTableError, match=r"'short' for prompt 'b' \(1 of 3"):
        by_length.score(rollout(), "arm")


def test_an_unknown_key_transform_or_temperature_is_refused(by_length):
    with pytest.raises(RoleError, match="no treatment 'arm'"):
        by_length.score(rollout(), "arm")
    with pytest.raises(ConfigError, match="transform 'sqrt'"):
        by_length.set_treatment(Treatment("arm", "sqrt", 0.0))
    with pytest.raises(ConfigError, match="temperature 0"):
        by_length.set_treatment(Treatment("arm", "identity", 0.0, temperature=0.0))


def test_a_function_with_the_wrong_length_is_refused():
    worker = RewardWorker(RewardSpec("two", FunctionSpec("tests.actors.test_reward:two_rewards")))
    with pytest.raises(RoleError, match="two_rewards"):
        worker.score_texts(PROMPTS, RESPONSES)


def test_a_response_over_the_limit_is_nan_and_a_cut_prompt_is_counted(tmp_path):
    worker = RewardWorker(RewardSpec("helpful", ModelSpec(tiny_models.save_scorer(tmp_path), max_tokens=40)))
    worker.set_treatment(Treatment("arm", "identity", 0.0))
    scores = worker.score(rollout(["word " * 100, "yes", "no", "ok", "ok", "ok"]), "arm")
    assert np.isnan(scores.view.rewards).tolist() == [True, False, False, False, False, False]
    assert scores.num_prompts_cut >= 0


def test_what_is_wrong_with_a_model_is_said_with_the_property(tmp_path):
    source = tiny_models.save_scorer(tmp_path, max_position_embeddings=64)
    RewardWorker(RewardSpec("helpful", ModelSpec(source, max_tokens=64)))
    with pytest.raises(ModelError, match=r"'helpful': .* up to max_tokens 65, but reads 64 tokens at most"):
        RewardWorker(RewardSpec("helpful", ModelSpec(source, max_tokens=65)))


def test_an_ensemble_combines_its_members_before_the_reference(tmp_path):
    folders = tuple(tiny_models.save_scorer(tmp_path / kind, kind) for kind in ("bert", "llama", "gpt2"))
    worker = RewardWorker(RewardSpec("helpful", EnsembleSpec(folders, LowerBound(0.5))))
    assert worker.score_parity(PROMPTS, RESPONSES) < 1e-3
    worker.set_treatment(Treatment("arm", "identity", 0.25))
    scores = worker.score(rollout(), "arm")
    np.testing.assert_allclose(scores.view.utilities, scores.view.rewards - 0.25, rtol=1e-5)


def test_a_model_that_reads_its_padding_is_reported_with_the_property(tmp_path):
    folder = tiny_models.save_scorer(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_text())
    worker = RewardWorker(RewardSpec("helpful", ModelSpec(folder)))
    assert worker.score_parity(PROMPTS, RESPONSES) < 1e-3
    worker._scorer._pad_token = config["pad_token_id"] + 5
    with pytest.raises(ModelError, match="'helpful': .* in a batch but .* check pad_token_id"):
        worker.score_parity(PROMPTS, RESPONSES)


def test_a_ray_actor_gives_the_bits_of_a_plain_worker(tmp_path, ray_cluster):
    spec = RewardSpec("helpful", ModelSpec(tiny_models.save_scorer(tmp_path)))
    actor = ray.remote(RewardWorker).options(num_cpus=1).remote(spec)
    treatment = Treatment("arm", "log_sigmoid", {"a": 1.0, "b": 2.0, "c": -1.0})
    ray.get(actor.set_treatment.remote(treatment))
    worker = RewardWorker(spec)
    worker.set_treatment(treatment)
    here, there = worker.score(rollout(), "arm"), ray.get(actor.score.remote(rollout(), "arm"))
    for name in ("rewards", "references", "margins", "utilities"):
        np.testing.assert_array_equal(getattr(here.view, name), getattr(there.view, name))
    with pytest.raises(ReferenceTableError):
        ray.get(actor.score.remote(Rollout(**vars(rollout()) | {"chunk": Chunk(0, 0, 0, 0, ("x",), ("y",), 6)}), "arm"))
    ray.kill(actor)


def test_an_actor_that_scores_by_a_function_starts_without_transformers():
    code = (
        "import sys\n"
        "from actors.reward import RewardSpec, RewardWorker\n"
        "from allgood.scorers.spec import FunctionSpec\n"
        "RewardWorker(RewardSpec('short', FunctionSpec('tests.actors.functions:shortness')))\n"
        "print('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
