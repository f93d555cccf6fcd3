"""A decoder that does not give the model's own logits is never used."""

import logging

import numpy as np
import pytest
import torch
from transformers import BertLMHeadModel

from actors.generation import decoder_choice
from actors.generation.decoder_choice import choose_decoder
from actors.generation.decoding import prefill_expanded
from actors.generation.recomputing import prefill_recomputing
from actors.generation.shared_prefix import prefill_shared, share_prefixes
from actors.generation.torch_engine import TorchEngine
from actors.learning.sequence_kl import sequence_k1
from actors.learning.token_logprobs import ragged_logprobs
from allgood.errors import ModelError
from tests.actors import tiny_models

FASTEST = {
    "llama": prefill_shared,
    "gpt2": prefill_shared,
    "mistral": prefill_expanded,
    "jamba": prefill_expanded,
    "mamba": prefill_expanded,
    "mamba2": prefill_expanded,
    "rwkv": prefill_recomputing,
}


@pytest.mark.parametrize("architecture", FASTEST)
def test_each_model_gets_the_fastest_decoder_that_is_right(architecture):
    assert choose_decoder(tiny_models.policy(architecture)) is FASTEST[architecture]


@pytest.mark.parametrize("architecture", ["llama", "mistral", "mamba2"])
def test_rounding_of_half_precision_is_no_fault(architecture):
    model = tiny_models.policy(architecture, spread=1.0).to(torch.bfloat16)
    assert choose_decoder(model) is FASTEST[architecture]


def test_attention_that_works_on_its_heads_afterwards_shares_no_prefix():
    model = tiny_models.policy("diffllama")
    assert share_prefixes(model)  # every layer reads the prefix, and yet the result is wrong
    model = tiny_models.policy("diffllama")
    assert choose_decoder(model) is prefill_expanded
    assert model.config._attn_implementation == "sdpa"


def test_the_kl_of_a_mamba_2_policy_to_itself_is_0():
    # The architecture of a bug report: 12.05 nats were logged, as the sampler saw the last token only.
    sizes = {"hidden_size": 64, "num_heads": 8, "head_dim": 16, "n_groups": 1, "state_size": 16, "expand": 2}
    model = tiny_models.policy("mamba2", spread=1.0, num_hidden_layers=2, chunk_size=16, **sizes)
    prompts = [[1, 5, 9, 30], [1, 7, 8, 200, 17, 91, 12]]
    generation = TorchEngine(model, tiny_models.tokenizer(), max_new_tokens=24).generate(prompts, 4, seed=2)
    rows = [np.array(prompt, dtype=np.int32) for prompt in prompts for _ in range(4)]
    reference = ragged_logprobs(model, rows, generation.tokens, micro_batch_tokens=200)
    np.testing.assert_allclose(sequence_k1(generation.logprobs, reference), 0.0, atol=1e-4)


class Forgetful:
    """A decoder that reads the newest token only."""

    def __init__(self, model, rows):
        self.model, self.rows = model, rows

    def step(self, tokens):
        return self.model(input_ids=tokens[:, None], use_cache=False).logits[:, -1]

    def keep(self, alive):
        pass


def forgetful(model, prompts, samples_per_prompt, max_new_tokens):
    _, logits = prefill_expanded(model, prompts, samples_per_prompt, max_new_tokens)
    return Forgetful(model, len(logits)), logits


class Slipping:
    """A decoder that gives back a row's neighbour after rows were dropped."""

    def __init__(self, decoder):
        self.decoder, self.shift = decoder, 0

    def step(self, tokens):
        return self.decoder.step(tokens).roll(self.shift, 0)

    def keep(self, alive):
        self.decoder.keep(alive)
        self.shift = 1


def slipping(model, prompts, samples_per_prompt, max_new_tokens):
    decoder, logits = prefill_expanded(model, prompts, samples_per_prompt, max_new_tokens)
    return Slipping(decoder), logits


def unfit(model, prompts, samples_per_prompt, max_new_tokens):
    raise TypeError("forward() got an unexpected keyword argument")


@pytest.mark.parametrize("wrong", [forgetful, slipping, unfit])
@pytest.mark.parametrize("spread", [1.0, 4.0])  # as a fresh model is, and a trained one
def test_a_wrong_decoder_gives_way_to_the_next(wrong, spread, monkeypatch, caplog):
    monkeypatch.setattr(decoder_choice, "prefill_shared", wrong)
    assert choose_decoder(tiny_models.policy(spread=spread)) is prefill_expanded
    monkeypatch.setattr(decoder_choice, "prefill_expanded", wrong)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert choose_decoder(tiny_models.policy(spread=spread)) is prefill_recomputing
    assert "LlamaForCausalLM keeps a cache that only its own code knows" in caplog.text


def test_a_model_that_is_not_causal_is_refused():
    torch.manual_seed(0)
    model = BertLMHeadModel(tiny_models.config("bert", initializer_range=0.3, is_decoder=False)).eval()
    with pytest.raises(ModelError, match="BertLMHeadModel cannot be sampled.*give a causal language model"):
        choose_decoder(model)


def test_a_small_vocabulary_is_enough_to_choose_by():
    assert choose_decoder(tiny_models.policy(vocab_size=5)) is prefill_shared
