"""The rollout worker: versions, texts, token bookkeeping; through Ray too."""

import dataclasses

import numpy as np
import pytest
import ray
import torch

from actors.learner import Learner
from actors.learning.specs import ArmSpec, Lora, OptimizerSpec, Rloo
from actors.messages import Chunk, Weights
from actors.reference_policy import ReferencePolicyWorker
from actors.rollout import Adapters, RolloutWorker
from actors.weights.publication import Notice
from allgood.errors import ModelError, RoleError
from tests.actors import tiny_models
from tests.actors.batches import ragged_batch
from tests.actors.snapshots import snapshot
from tests.actors.specs import learner_spec, reference_policy_spec, rollout_spec
from tests.templates import template_tokenizer


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tiny_models.save_policy(tmp_path_factory.mktemp("policy"))
    return rollout_spec(folder, max_new_tokens=20, max_prompt_tokens=60)


def chunk(version=0, prompts=tiny_models.PROMPTS):
    ids = tuple(f"p{i}" for i in range(len(prompts)))
    return Chunk(
        step=2, index=1, seed=9, policy_version=version, prompt_ids=ids, prompts=tuple(prompts), samples_per_prompt=3
    )


def test_a_rollout_holds_prompt_major_rows_of_the_chunk(spec):
    worker = RolloutWorker(spec)
    rollout = worker.generate(chunk())
    assert rollout.chunk == chunk()
    assert len(rollout.prompt_tokens) == 3
    assert len(rollout.response_tokens) == len(rollout.responses) == len(rollout.finish_reasons) == 9
    tokenizer = tiny_models.tokenizer()
    for tokens, prompt in zip(rollout.prompt_tokens, tiny_models.PROMPTS, strict=True):
        assert tokenizer.decode(tokens) == prompt
    for tokens, logprobs, entropies in zip(rollout.response_tokens, rollout.logprobs, rollout.entropies, strict=True):
        assert tokens.dtype == np.int32
        assert logprobs.dtype == entropies.dtype == np.float32
        assert len(tokens) == len(logprobs) == len(entropies) > 0
    assert rollout.num_prompts_cut == 0
    assert rollout.seconds > 0


def test_responses_end_where_the_template_ends_a_turn(tmp_path):
    tokenizer = template_tokenizer("chatml")
    folder = tiny_models.save_policy(tmp_path, vocab_size=len(tokenizer), spread=0.5)
    tokenizer.save_pretrained(folder)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    rollout = RolloutWorker(rollout_spec(folder, max_new_tokens=150, max_prompt_tokens=100, stop=None)).generate(
        chunk()
    )
    ended = [tokens[-1] == end for tokens in rollout.response_tokens]
    assert any(ended)
    for tokens, text, reason in zip(rollout.response_tokens, rollout.responses, rollout.finish_reasons, strict=True):
        assert end not in tokens[:-1]
        assert reason == ("eos" if tokens[-1] in (end, tokenizer.eos_token_id) else "length")
        assert text == tokenizer.decode(tokens, skip_special_tokens=True)


def test_a_chunk_of_another_version_is_refused(spec):
    worker = RolloutWorker(spec)
    with pytest.raises(RoleError, match="needs policy version 4, but this rollout worker holds version 0"):
        worker.generate(chunk(version=4))
    new = tiny_models.policy(seed=5)
    assert worker.set_weights(Notice((snapshot(new, policy_version=4, dtype=torch.float32),))) == 4
    assert worker.generate(chunk(version=4)).chunk.policy_version == 4
    with pytest.raises(RoleError, match="needs policy version 0, but this rollout worker holds version 4"):
        worker.generate(chunk(version=0))


def test_new_weights_give_the_samples_of_a_worker_that_loaded_them(spec, tmp_path):
    updated = RolloutWorker(spec)
    updated.set_weights(Notice((snapshot(tiny_models.policy(seed=5), policy_version=0, dtype=torch.float32),)))
    loaded = RolloutWorker(rollout_spec(**vars(spec) | {"model": tiny_models.save_policy(tmp_path, seed=5)}))
    assert_same(updated.generate(chunk()), loaded.generate(chunk()))


def test_a_policy_with_adapters_takes_those_only_and_without_them_is_pi_0(spec, tmp_path):
    """What it samples is the merged policy; log pi_0 has the bits of a reference-policy actor."""
    lora = Lora(rank=2)
    worker = RolloutWorker(dataclasses.replace(spec, adapters=Adapters(lora, 16_384)))
    assert_same(worker.generate(chunk()), RolloutWorker(spec).generate(chunk()))
    learner = Learner(learner_spec(spec.model, lora=lora))
    learner.start(ArmSpec(OptimizerSpec(learning_rate=0.05, schedule="constant"), Rloo(), 9, 0))
    learner.update(ragged_batch(tiny_models.policy()))
    learner.update(ragged_batch(tiny_models.policy(), policy_version=1))
    part = learner.publish(0)
    assert sum(array.nbytes for array in part.arrays.values()) < 0.2 * tiny_models.policy().num_parameters() * 4
    assert worker.set_weights(Notice((part,))) == 2

    rollout = worker.generate(chunk(version=2))
    learner.save_pretrained(str(tmp_path))
    tiny_models.tokenizer().save_pretrained(tmp_path)
    merged = ReferencePolicyWorker(reference_policy_spec(str(tmp_path))).logprobs(rollout)
    pi_0 = ReferencePolicyWorker(reference_policy_spec(spec.model)).logprobs(rollout)
    own = worker.reference_logprobs(rollout)
    for sampled, right, base, same in zip(rollout.logprobs, merged.rows, pi_0.rows, own.rows, strict=True):
        np.testing.assert_allclose(sampled, right, atol=2e-4)
        np.testing.assert_array_equal(same, base)
    assert max(np.abs(a - b).max() for a, b in zip(merged.rows, pi_0.rows, strict=True)) > 0.1


def test_without_adapters_a_rollout_worker_knows_no_pi_0(spec):
    worker = RolloutWorker(spec)
    with pytest.raises(RoleError, match="nobody here knows pi_0"):
        worker.reference_logprobs(worker.generate(chunk()))


def test_an_older_version_of_the_same_training_is_refused_and_another_training_begins_at_0(spec):
    def version(number, training):
        weights = snapshot(tiny_models.policy(), policy_version=number, dtype=torch.float32)
        return Notice((Weights(number, weights.arrays, weights.dtypes, training),))

    worker = RolloutWorker(spec)
    assert [worker.set_weights(version(number, "a")) for number in (2, 2, 3)] == [2, 2, 3]
    with pytest.raises(RoleError, match="weight version 2 is older than version 3"):
        worker.set_weights(version(2, "a"))
    assert worker.generate(chunk(version=3)).chunk.policy_version == 3
    assert worker.set_weights(version(0, "b")) == 0


def test_our_engine_is_the_default_and_reports_the_policys_own_logprobs(spec):
    assert spec.engine == "torch"
    assert RolloutWorker(spec).has_exact_logprobs()
    assert RolloutWorker(spec).has_float32_logprobs()
    half = RolloutWorker(rollout_spec(**vars(spec) | {"dtype": "bfloat16"}))
    assert half.has_exact_logprobs()
    assert not half.has_float32_logprobs()


def test_a_long_prompt_is_cut_and_counted(spec):
    long = "\n\nHuman: " + "Name a river. " * 10 + "\n\nAssistant: The Danube." + tiny_models.PROMPTS[2]
    rollout = RolloutWorker(spec).generate(chunk(prompts=[long, tiny_models.PROMPTS[2]]))
    assert rollout.num_prompts_cut == 1
    assert np.array_equal(rollout.prompt_tokens[0], rollout.prompt_tokens[1])


def test_a_policy_with_too_few_positions_is_refused(spec):
    with pytest.raises(ModelError, match=r"needs 460 positions .* reads 256 tokens at most"):
        RolloutWorker(rollout_spec(spec.model, max_new_tokens=400, max_prompt_tokens=60))


def test_tokens_that_the_tokenizer_does_not_have_are_sampled_and_have_no_text(tmp_path):
    # An embedding padded to 400 rows over a tokenizer of 320: such tokens keep their log-probs.
    folder = tiny_models.save_policy(tmp_path, vocab_size=400, spread=1.0)
    rollout = RolloutWorker(rollout_spec(folder, max_new_tokens=20, max_prompt_tokens=60)).generate(chunk())
    assert any((tokens >= 320).any() for tokens in rollout.response_tokens)
    tokenizer = tiny_models.tokenizer()
    for tokens, text in zip(rollout.response_tokens, rollout.responses, strict=True):
        assert text == tokenizer.decode(tokens[tokens < 320], skip_special_tokens=True).strip()
    reference = ReferencePolicyWorker(reference_policy_spec(folder)).logprobs(rollout)
    for ours, row in zip(rollout.logprobs, reference.rows, strict=True):
        np.testing.assert_allclose(ours, row, atol=1e-4)


def test_a_ray_actor_gives_the_bits_of_a_plain_worker(spec, ray_cluster):
    actor = ray.remote(RolloutWorker).options(num_cpus=1).remote(spec)
    weights = Notice((snapshot(tiny_models.policy(seed=5), policy_version=1, dtype=torch.float32),))
    assert ray.get(actor.set_weights.remote(weights)) == 1
    through_ray = ray.get(actor.generate.remote(chunk(version=1)))
    with pytest.raises(RoleError, match="holds version 1"):
        ray.get(actor.generate.remote(chunk(version=2)))
    worker = RolloutWorker(spec)
    worker.set_weights(weights)
    assert_same(through_ray, worker.generate(chunk(version=1)))
    assert ray.get(actor.location.remote())["pid"] != worker.location()["pid"]
    ray.kill(actor)


def assert_same(one, other):
    for name in ("response_tokens", "logprobs", "entropies"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert np.array_equal(a, b)
    assert one.responses == other.responses
    assert one.finish_reasons == other.finish_reasons
