"""The generation engine against plain transformers, exact enumeration and itself."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from actors.generation import torch_engine as engine_module
from actors.generation.shared_prefix import share_prefixes
from actors.generation.torch_engine import TorchEngine
from allgood.errors import RoleError
from tests.actors import tiny_models
from tests.actors.snapshots import snapshot

PROMPTS = [[1, 5, 9, 30], [1, 44], [1, 7, 8, 200, 17, 91, 12]]


@pytest.mark.parametrize(
    "architecture",
    ["llama", "qwen2", "gpt2", "mistral", "jamba", "deepseek", "diffllama", "mamba", "mamba2", "rwkv"],
)
def test_logprobs_and_entropies_agree_with_a_full_forward_pass(architecture):
    plain = tiny_models.policy(architecture)
    engine = TorchEngine(tiny_models.policy(architecture), tiny_models.tokenizer(), max_new_tokens=12)
    generation = engine.generate(PROMPTS, 5, seed=3)
    for row, (tokens, logprobs, entropies) in enumerate(
        zip(generation.tokens, generation.logprobs, generation.entropies, strict=True)
    ):
        expected_logprobs, expected_entropies = full_forward(plain, PROMPTS[row // 5], tokens)
        np.testing.assert_allclose(logprobs, expected_logprobs, atol=1e-4)
        np.testing.assert_allclose(entropies, expected_entropies, atol=1e-4)


def test_models_with_full_attention_share_prefixes_but_windows_and_compressed_caches_do_not():
    assert share_prefixes(tiny_models.policy("llama"))
    assert share_prefixes(tiny_models.policy("gpt2"))
    assert not share_prefixes(tiny_models.policy("mistral"))
    compressed = tiny_models.policy("deepseek")
    assert not share_prefixes(compressed)
    assert compressed.config._attn_implementation == "sdpa"


def test_samples_follow_the_model_exactly():
    # Vocabulary of 5 tokens, EOS is 2: 1 + 4 * (1 + 4 * 5) = 85 responses of up to 3 tokens, all enumerable.
    model = tiny_models.policy(vocab_size=5)
    engine = TorchEngine(tiny_models.policy(vocab_size=5), tiny_models.tokenizer(), max_new_tokens=3)
    num_samples = 20_000
    generation = engine.generate([[1, 3]], num_samples, seed=8)
    counts: dict[tuple[int, ...], int] = {}
    for tokens in generation.tokens:
        counts[tuple(tokens.tolist())] = counts.get(tuple(tokens.tolist()), 0) + 1
    expected = {
        response: num_samples * probability for response, probability in enumerate_responses(model, [1, 3]).items()
    }
    assert sum(expected.values()) == pytest.approx(num_samples)
    assert counts.keys() <= expected.keys()
    assert len(expected) == 85
    assert min(expected.values()) > 5
    observed = [counts.get(response, 0) for response in expected]
    assert stats.chisquare(observed, list(expected.values())).pvalue > 1e-3


def test_a_chunk_has_the_same_bits_in_another_process_with_another_history():
    here = digest(TorchEngine(tiny_models.policy(), tiny_models.tokenizer(), max_new_tokens=10), seed=5)
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from tests.actors import tiny_models\n"
        "from tests.actors.generation import test_torch_engine\n"
        "engine = test_torch_engine.TorchEngine(tiny_models.policy(), tiny_models.tokenizer(), max_new_tokens=10)\n"
        "engine.generate([[1, 60, 61]], 9, seed=77); torch.rand(1000)\n"
        "print(test_torch_engine.digest(engine, seed=5))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there.strip() == here


def test_earlier_chunks_leave_no_trace():
    engine = TorchEngine(tiny_models.policy(), tiny_models.tokenizer(), max_new_tokens=10)
    first = digest(engine, seed=5)
    engine.generate([[1, 60, 61]], 9, seed=77)
    assert digest(engine, seed=5) == first


def test_another_seed_gives_other_samples():
    engine = TorchEngine(tiny_models.policy(), tiny_models.tokenizer(), max_new_tokens=10)
    assert digest(engine, seed=5) != digest(engine, seed=6)


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_dropping_finished_rows_changes_no_bit(architecture, monkeypatch):
    # EOS is likely, so rows end all along
    model = likely_to_end(tiny_models.policy(architecture))
    engine = TorchEngine(model, tiny_models.tokenizer(), max_new_tokens=16)
    compacted = engine.generate(PROMPTS * 4, 8, seed=4)
    monkeypatch.setattr(engine_module, "_COMPACTION_SHARE", 2.0)  # never
    kept = engine.generate(PROMPTS * 4, 8, seed=4)
    lengths = {len(tokens) for tokens in kept.tokens}
    assert len(lengths) > 6
    for name in ("tokens", "logprobs", "entropies"):
        for one, other in zip(getattr(compacted, name), getattr(kept, name), strict=True):
            assert np.array_equal(one, other)
    assert compacted.finish_reasons == kept.finish_reasons


def test_a_response_ends_at_eos_or_at_the_limit_and_says_which():
    engine = TorchEngine(likely_to_end(tiny_models.policy()), tiny_models.tokenizer(), max_new_tokens=6)
    generation = engine.generate(PROMPTS, 20, seed=0)
    assert set(generation.finish_reasons) == {"eos", "length"}
    for tokens, reason in zip(generation.tokens, generation.finish_reasons, strict=True):
        assert 2 not in tokens[:-1]
        assert (tokens[-1] == 2) == (reason == "eos")
        assert reason == "eos" or len(tokens) == 6


def test_a_response_ends_at_a_stop_string_and_keeps_its_tokens():
    tokenizer = tiny_models.tokenizer()
    engine = TorchEngine(tiny_models.policy(spread=0.1), tokenizer, max_new_tokens=200, stop=["ab", "?"])
    generation = engine.generate(PROMPTS, 8, seed=1)
    assert "stop" in generation.finish_reasons
    for tokens, reason in zip(generation.tokens, generation.finish_reasons, strict=True):
        before, text = tokenizer.decode(tokens[:-1]), tokenizer.decode(tokens)
        assert "ab" not in before
        assert "?" not in before
        assert ("ab" in text or "?" in text) == (reason == "stop")


def test_all_end_tokens_of_the_generation_config_end_a_response():
    model = tiny_models.policy(spread=0.1, vocab_size=8)
    model.generation_config.eos_token_id = [2, 5]
    generation = TorchEngine(model, tiny_models.tokenizer(), max_new_tokens=60).generate([[1, 3]], 30, seed=1)
    assert {int(tokens[-1]) for tokens in generation.tokens} == {2, 5}
    assert set(generation.finish_reasons) == {"eos"}


def test_weights_that_are_not_finite_are_refused():
    model = tiny_models.policy()
    with torch.no_grad():
        model.lm_head.weight[:, 0] = float("nan")
    with pytest.raises(RoleError, match="not finite"):
        TorchEngine(model, tiny_models.tokenizer(), max_new_tokens=4)
    engine = TorchEngine(tiny_models.policy(), tiny_models.tokenizer(), max_new_tokens=4)
    engine.set_weights(snapshot(model, policy_version=1, dtype=torch.float32))
    with pytest.raises(RoleError, match="not finite"):
        engine.generate(PROMPTS, 2, seed=0)


def full_forward(model, prompt, tokens):
    ids = torch.tensor([[*prompt, *tokens.tolist()]])
    with torch.no_grad():
        distribution = model(ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
    logprobs = distribution.gather(-1, ids[0, len(prompt) :, None]).squeeze(-1)
    return logprobs.numpy(), -(distribution.exp() * distribution).sum(-1).numpy()


def enumerate_responses(model, prompt, response=(), probability=1.0):
    """Probability of every response of up to 3 tokens, EOS = 2."""
    if len(response) == 3 or (response and response[-1] == 2):
        return {response: probability}
    with torch.no_grad():
        following = model(torch.tensor([[*prompt, *response]])).logits[0, -1].double().softmax(-1)
    result = {}
    for token, share in enumerate(following.tolist()):
        result |= enumerate_responses(model, prompt, (*response, token), probability * share)
    return result


def likely_to_end(model):
    """The same model with EOS at about every fifth token."""
    with torch.no_grad():
        hidden = torch.cat(
            [model(torch.tensor([prompt]), output_hidden_states=True).hidden_states[-1][0] for prompt in PROMPTS]
        )
        model.lm_head.weight.mul_(0.05)
        direction = hidden.mean(0)
        model.lm_head.weight[2] = direction / direction.norm() ** 2 * 4.0
    return model


def digest(engine, *, seed):
    generation = engine.generate(PROMPTS, 4, seed=seed)
    arrays = [*generation.tokens, *generation.logprobs, *generation.entropies]
    return " ".join(array.tobytes().hex() for array in arrays)
