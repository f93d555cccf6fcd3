"""The value head sees the state in which each token was chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actors.learning.token_logprobs import response_logprobs
from actors.learning.value_head import ValueHead, last_hidden_states, response_states
from tests.actors import tiny_models


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_states_are_the_last_hidden_states_before_each_response_token(architecture: str) -> None:
    model = tiny_models.policy(architecture)
    generator = np.random.default_rng(0)
    prompts = [generator.integers(3, 300, length).astype(np.int32) for length in (4, 7, 2)]
    responses = [generator.integers(3, 300, length).astype(np.int32) for length in (5, 1, 3)]
    with torch.no_grad():
        with last_hidden_states(model) as hidden:
            response_logprobs(model, prompts, responses)
        states = response_states(hidden(), prompts, responses)
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
            ids = torch.tensor(np.concatenate([prompt, response]), dtype=torch.int64)[None]
            expected = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, len(prompt) - 1 : -1]
            torch.testing.assert_close(states[row, : len(response)], expected, rtol=1e-4, atol=1e-5)


def test_hook_is_gone_after_the_context() -> None:
    model = tiny_models.policy()
    with last_hidden_states(model):
        pass
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_value_head_starts_at_zero_and_returns_there() -> None:
    head, states = ValueHead(6), torch.randn(2, 3, 6)
    assert head(states).tolist() == torch.zeros(2, 3).tolist()
    torch.nn.init.ones_(head.linear.weight)
    assert head(states).abs().max() > 0
    head.reset()
    assert head(states).tolist() == torch.zeros(2, 3).tolist()
