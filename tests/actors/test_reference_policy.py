"""The reference policy worker."""

import numpy as np
import torch

from actors.messages import Chunk
from actors.reference_policy import ReferencePolicyWorker
from actors.rollout import RolloutWorker
from tests.actors import tiny_models
from tests.actors.specs import reference_policy_spec, rollout_spec

CHUNK = Chunk(0, 0, 5, 0, ("a", "b", "c"), tuple(tiny_models.PROMPTS), samples_per_prompt=4)


def test_the_policy_itself_has_kl_zero_against_its_reference(tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    rollout = RolloutWorker(rollout_spec(folder, max_new_tokens=16, max_prompt_tokens=60)).generate(CHUNK)
    reference = ReferencePolicyWorker(reference_policy_spec(folder, micro_batch_tokens=200)).logprobs(rollout)
    assert len(reference.rows) == 12
    for ours, behaviour in zip(reference.rows, rollout.logprobs, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, behaviour, atol=1e-4)


def test_logprobs_are_those_of_the_token_ids_under_another_model(tmp_path):
    policy, reference = (
        tiny_models.save_policy(tmp_path / "policy"),
        tiny_models.save_policy(tmp_path / "reference", seed=3),
    )
    rollout = RolloutWorker(rollout_spec(policy, max_new_tokens=16, max_prompt_tokens=60)).generate(CHUNK)
    rows = ReferencePolicyWorker(reference_policy_spec(reference)).logprobs(rollout).rows
    plain = tiny_models.policy(seed=3)
    for row, tokens in enumerate(rollout.response_tokens):
        prompt = rollout.prompt_tokens[row // 4]
        ids = torch.tensor([[*prompt.tolist(), *tokens.tolist()]])
        with torch.no_grad():
            distribution = plain(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = distribution.gather(-1, ids[0, len(prompt) :, None]).squeeze(-1)
        np.testing.assert_allclose(rows[row], expected, atol=1e-4)


def test_dropout_is_off(tmp_path):
    folder = tiny_models.save_policy(tmp_path, architecture="gpt2", resid_pdrop=0.5)
    rollout = RolloutWorker(rollout_spec(folder, max_new_tokens=8, max_prompt_tokens=60)).generate(CHUNK)
    worker = ReferencePolicyWorker(reference_policy_spec(folder))
    for one, two in zip(worker.logprobs(rollout).rows, worker.logprobs(rollout).rows, strict=True):
        assert np.array_equal(one, two)
