"""Log-probs of response tokens against one plain forward pass per row."""

import numpy as np
import pytest
import torch

from actors.learning.token_logprobs import micro_batches, ragged_logprobs, response_logprobs, rollout_logprobs
from actors.messages import Chunk, Rollout
from tests.actors import tiny_models

PROMPTS = [np.array(row, dtype=np.int32) for row in ([1, 5, 9, 30], [1, 44], [1, 7, 8, 200, 17, 91, 12], [3])]
RESPONSES = [np.array(row, dtype=np.int32) for row in ([6, 2], [9], [33, 34, 35, 36, 2], [8, 8, 8])]


def plain(model, prompt, response):
    ids = torch.tensor([[*prompt.tolist(), *response.tolist()]])
    distribution = model(ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
    logprobs = distribution.gather(-1, ids[0, len(prompt) :, None]).squeeze(-1)
    return logprobs, -(distribution.exp() * distribution).sum(-1)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mistral"])
def test_padded_rows_agree_with_rows_alone(architecture):
    model = tiny_models.policy(architecture)
    with torch.no_grad():
        padded = response_logprobs(model, PROMPTS, RESPONSES)
        assert padded.mask.sum(1).tolist() == [2, 1, 5, 3]
        assert not padded.logprobs[~padded.mask].any()
        assert not padded.entropies[~padded.mask].any()
        for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
            logprobs, entropies = plain(model, prompt, response)
            np.testing.assert_allclose(padded.logprobs[row, : len(response)], logprobs, atol=1e-4)
            np.testing.assert_allclose(padded.entropies[row, : len(response)], entropies, atol=1e-4)


@pytest.mark.parametrize("micro_batch_tokens", [1, 16, 1000])
def test_ragged_rows_come_back_in_order_whatever_the_budget(micro_batch_tokens):
    model = tiny_models.policy()
    rows = ragged_logprobs(model, PROMPTS, RESPONSES, micro_batch_tokens=micro_batch_tokens)
    for row, prompt, response in zip(rows, PROMPTS, RESPONSES, strict=True):
        assert row.dtype == np.float32
        np.testing.assert_allclose(row, plain(model, prompt, response)[0].detach(), atol=1e-4)


def test_micro_batches_depend_on_lengths_alone():
    # lengths 6, 3, 12, 4: 12 alone; 6 and 4 make 12 <= 12; then 3
    assert micro_batches(PROMPTS, RESPONSES, max_tokens=12) == [[2], [0, 3], [1]]


def test_gradients_are_those_of_plain_rows():
    padded_model, plain_model = tiny_models.policy(), tiny_models.policy()
    weights = torch.tensor([0.5, -1.0, 2.0, 0.3])
    (response_logprobs(padded_model, PROMPTS, RESPONSES).logprobs.sum(1) * weights).sum().backward()
    sum(w * plain(plain_model, p, r)[0].sum() for w, p, r in zip(weights, PROMPTS, RESPONSES, strict=True)).backward()
    for one, other in zip(padded_model.parameters(), plain_model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-3, rtol=1e-3)


def test_entropies_carry_no_gradient():
    assert not response_logprobs(tiny_models.policy(), PROMPTS, RESPONSES).entropies.requires_grad


def test_an_empty_row_is_refused():
    with pytest.raises(ValueError, match="at least one prompt token and one response token"):
        response_logprobs(tiny_models.policy(), PROMPTS[:1], [np.array([], dtype=np.int32)])


def test_no_rows_give_no_rows():
    assert ragged_logprobs(tiny_models.policy(), [], [], micro_batch_tokens=10) == ()


def test_a_micro_batch_that_runs_out_of_memory_has_the_log_probs_of_its_halves():
    model = tiny_models.policy()

    def refuse(module, arguments, keywords):
        if len(keywords["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    chunk = Chunk(0, 0, 1, 0, tuple("abcd"), tuple("abcd"), samples_per_prompt=1)
    rollout = Rollout(chunk, tuple(PROMPTS), tuple(RESPONSES), (), (), (), (), 0, 0.0)
    whole = rollout_logprobs(model, rollout, micro_batch_tokens=100)
    model.register_forward_pre_hook(refuse, with_kwargs=True)
    halved = rollout_logprobs(model, rollout, micro_batch_tokens=100)
    assert (len(whole.retries), len(halved.retries)) == (0, 1)
    for one, other in zip(whole.rows, halved.rows, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
