"""The reward worker: raw rewards, treatments, refusals; against plain transformers and through Ray."""

import json
import math

import numpy as np
import pytest
import ray
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from actors.messages import Chunk, Rollout
from actors.reward import RewardSpec, RewardWorker
from allgood.errors import ConfigError, ModelError, ReferenceTableError, RoleError
from allgood.scorers.ensemble import LowerBound, Mean, Median, Min
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
    return RewardWorker(RewardSpec("short", "function", "tests.actors.test_reward:length_reward"))


@pytest.mark.parametrize("architecture", ["bert", "llama", "gpt2"])
def test_raw_rewards_are_those_of_plain_transformers(tmp_path, architecture):
    folder = tiny_models.save_scorer(tmp_path, architecture)
    rewards = RewardWorker(RewardSpec("helpful", "model", folder, micro_batch_tokens=100)).score_texts(
        PROMPTS, RESPONSES
    )
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for reward, prompt, response in zip(rewards, PROMPTS, RESPONSES, strict=True):
        ids = tokenizer(f"{prompt} {response}", return_tensors="pt").input_ids
        ids = torch.cat([ids, torch.tensor([[tokenizer.eos_token_id]])], dim=1)  # this tokenizer ends nothing itself
        with torch.no_grad():
            assert reward == pytest.approx(model(ids).logits.item(), abs=1e-4)
    assert len(set(rewards.tolist())) == 3


def test_a_classifier_gives_the_log_probability_of_its_label(tmp_path):
    folder = tiny_models.save_scorer(tmp_path, num_labels=3)
    total = sum(
        np.exp(RewardWorker(RewardSpec("kind", "classifier", folder, label=label)).score_texts(PROMPTS, RESPONSES))
        for label in range(3)
    )
    np.testing.assert_allclose(total, np.ones(3), rtol=1e-5)


def test_scores_hold_reward_reference_margin_and_log_sigmoid_utility(by_length):
    by_length.set_treatment(Treatment("arm", "log_sigmoid", {"a": 1.0, "b": 2.0, "c": -1.0, "unused": 9.0}))
    scores = by_length.score(rollout(), "arm")
    expected = np.array([len(response) / 10 for response in rollout().responses], dtype=np.float32)
    references = np.array([1, 1, 2, 2, -1, -1], dtype=np.float32)
    np.testing.assert_array_equal(scores.rewards, expected)
    np.testing.assert_array_equal(scores.references, references)
    np.testing.assert_array_equal(scores.margins, expected - references)
    np.testing.assert_allclose(scores.utilities, -np.log1p(np.exp(-(expected - references))), rtol=1e-5)
    assert scores.property == "short"
    assert {array.dtype for array in (scores.rewards, scores.references, scores.margins, scores.utilities)} == {
        np.dtype(np.float32)
    }


def test_identity_keeps_margins_and_a_number_serves_every_prompt(by_length):
    by_length.set_treatment(Treatment("raw", "identity", 0.5))
    scores = by_length.score(rollout(), "raw")
    np.testing.assert_array_equal(scores.utilities, scores.margins)
    np.testing.assert_array_equal(scores.references, np.full(6, 0.5, dtype=np.float32))


def test_the_temperature_divides_rewards_and_references(by_length):
    by_length.set_treatment(Treatment("calibrated", "identity", 0.5, temperature=2.0))
    scores = by_length.score(rollout(), "calibrated")
    np.testing.assert_allclose(scores.margins, (scores.rewards - 0.5) / 2.0, rtol=1e-6)
    np.testing.assert_allclose(scores.utilities, scores.margins, rtol=1e-6)


def test_treatments_live_side_by_side(by_length):
    by_length.set_treatment(Treatment("raw", "identity", 0.0))
    by_length.set_treatment(Treatment("lsc", "log_sigmoid", 1.0))
    raw, lsc = by_length.score(rollout(), "raw"), by_length.score(rollout(), "lsc")
    np.testing.assert_array_equal(raw.rewards, lsc.rewards)
    assert (raw.utilities > 0).any()
    assert (lsc.utilities < 0).all()


def test_a_treatment_that_is_forgotten_leaves_the_others(by_length):
    by_length.set_treatment(Treatment("raw", "identity", 0.0))
    by_length.set_treatment(Treatment("lsc", "log_sigmoid", 1.0))
    for key in ("raw", "raw", "never set"):
        by_length.forget(key)
    assert (by_length.score(rollout(), "lsc").utilities < 0).all()
    with pytest.raises(RoleError, match="no treatment 'raw'"):
        by_length.score(rollout(), "raw")


def test_a_failed_score_is_nan_everywhere_and_never_zero(by_length):
    by_length.set_treatment(Treatment("arm", "log_sigmoid", 1.0))
    scores = by_length.score(rollout(["good", "", "x", "y", "z", "w"]), "arm")
    for array in (scores.rewards, scores.references, scores.margins, scores.utilities):
        assert np.isnan(array).tolist() == [False, True, False, False, False, False]


def test_log_prob_takes_log_probabilities(tmp_path):
    folder = tiny_models.save_scorer(tmp_path, num_labels=2)
    worker = RewardWorker(RewardSpec("kind", "classifier", folder))
    worker.set_treatment(Treatment("arm", "log_prob", 0.0))
    scores = worker.score(rollout(), "arm")
    np.testing.assert_array_equal(scores.utilities, scores.rewards)
    assert (scores.utilities < 0).all()


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
    worker = RewardWorker(RewardSpec("two", "function", "tests.actors.test_reward:two_rewards"))
    with pytest.raises(RoleError, match="two_rewards"):
        worker.score_texts(PROMPTS, RESPONSES)


def test_a_response_over_the_limit_is_nan_and_a_cut_prompt_is_counted(tmp_path):
    worker = RewardWorker(RewardSpec("helpful", "model", tiny_models.save_scorer(tmp_path), max_tokens=40))
    worker.set_treatment(Treatment("arm", "identity", 0.0))
    scores = worker.score(rollout(["word " * 100, "yes", "no", "ok", "ok", "ok"]), "arm")
    assert np.isnan(scores.rewards).tolist() == [True, False, False, False, False, False]
    assert scores.num_prompts_cut >= 0


@pytest.mark.parametrize("kind", ["model", "ensemble"])
def test_a_limit_beyond_what_the_model_reads_is_refused_at_the_start(tmp_path, kind):
    source = tiny_models.save_scorer(tmp_path, max_position_embeddings=64)
    members = {"members": (source, source), "combination": Mean()} if kind == "ensemble" else {}
    RewardWorker(RewardSpec("helpful", kind, source, max_tokens=64, **members))
    with pytest.raises(ModelError, match=r"'helpful' scores up to max_tokens 65, but .* reads 64 at most"):
        RewardWorker(RewardSpec("helpful", kind, source, max_tokens=65, **members))


@pytest.mark.parametrize(
    ("combination", "expected"),
    [
        (Mean(), lambda members: members.mean(0)),
        (Median(), lambda members: np.median(members, 0)),
        (Min(), lambda members: members.min(0)),
        (LowerBound(0.5), lambda members: members.mean(0) - 0.5 * members.std(0)),
    ],
    ids=["mean", "median", "min", "lower_bound"],
)
def test_an_ensemble_combines_its_members_before_the_reference(tmp_path, combination, expected):
    folders = tuple(tiny_models.save_scorer(tmp_path / kind, kind) for kind in ("bert", "llama", "gpt2"))
    spec = RewardSpec("helpful", "ensemble", "three", members=folders, combination=combination)
    worker = RewardWorker(spec)
    alone = [RewardWorker(RewardSpec("helpful", "model", folder)).score_texts(PROMPTS, RESPONSES) for folder in folders]
    np.testing.assert_allclose(worker.score_texts(PROMPTS, RESPONSES), expected(np.stack(alone)), rtol=1e-5, atol=1e-6)
    assert worker.score_parity(PROMPTS, RESPONSES) < 1e-3
    worker.set_treatment(Treatment("arm", "identity", 0.25))
    scores = worker.score(rollout(), "arm")
    np.testing.assert_allclose(scores.utilities, scores.rewards - 0.25, rtol=1e-5)


def test_a_response_that_one_member_cannot_score_has_no_reward(tmp_path):
    folders = tuple(tiny_models.save_scorer(tmp_path / kind, kind) for kind in ("bert", "llama"))
    spec = RewardSpec("helpful", "ensemble", "two", max_tokens=40, members=folders, combination=Min())
    rewards = RewardWorker(spec).score_texts(["\n\nHuman: a\n\nAssistant:"] * 2, ["word " * 100, "yes"])
    assert np.isnan(rewards).tolist() == [True, False]


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_batched_and_plain_scores_agree_at_start(tmp_path, architecture):
    worker = RewardWorker(RewardSpec("helpful", "model", tiny_models.save_scorer(tmp_path, architecture)))
    assert worker.score_parity(PROMPTS, RESPONSES) < 1e-3


def test_a_causal_reward_model_without_a_pad_token_scores_right_one_by_one(tmp_path):
    folder = tiny_models.save_scorer(tmp_path, "llama", pad_token_id=None)
    worker = RewardWorker(RewardSpec("helpful", "model", folder))
    assert worker.score_parity(PROMPTS, RESPONSES) < 1e-6
    assert np.isfinite(worker.score_texts(PROMPTS, RESPONSES)).all()


def test_a_wrong_pad_token_is_found_by_the_parity_check(tmp_path):
    folder = tiny_models.save_scorer(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_text())
    # A pad token that differs from the one that pads: plain rows are right, batched ones read the padding.
    worker = RewardWorker(RewardSpec("helpful", "model", folder))
    worker._scorer._pad_token = config["pad_token_id"] + 5
    with pytest.raises(ModelError, match="in a batch but .* check pad_token_id"):
        worker.score_parity(PROMPTS, RESPONSES)


def test_a_function_needs_no_parity_check(by_length):
    assert by_length.score_parity(PROMPTS, RESPONSES) == 0.0


def test_a_ray_actor_gives_the_bits_of_a_plain_worker(tmp_path, ray_cluster):
    spec = RewardSpec("helpful", "model", tiny_models.save_scorer(tmp_path))
    actor = ray.remote(RewardWorker).options(num_cpus=1).remote(spec)
    treatment = Treatment("arm", "log_sigmoid", {"a": 1.0, "b": 2.0, "c": -1.0})
    ray.get(actor.set_treatment.remote(treatment))
    worker = RewardWorker(spec)
    worker.set_treatment(treatment)
    here, there = worker.score(rollout(), "arm"), ray.get(actor.score.remote(rollout(), "arm"))
    for name in ("rewards", "references", "margins", "utilities"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    with pytest.raises(ReferenceTableError):
        ray.get(actor.score.remote(Rollout(**vars(rollout()) | {"chunk": Chunk(0, 0, 0, 0, ("x",), ("y",), 6)}), "arm"))
    ray.kill(actor)
