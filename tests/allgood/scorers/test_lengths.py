"""How many tokens models of several families read: by their own account, and by a pass of that length."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from allgood.errors import ModelError
from allgood.scorers import lengths
from allgood.scorers.lengths import shortfall, usable_length
from allgood.scorers.loading import load_scorer
from allgood.scorers.spec import ModelSpec
from tests.actors import tiny_models

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
LAYERS = {f"{part}_{key}": 1 for part in ("encoder", "decoder") for key in ("layers", "attention_heads", "ffn_dim")}
GPT = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 2}
PAD_1 = {"max_position_embeddings": 66, "pad_token_id": 1}
STATE = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}


def policy(model_type, **sizes):
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes)).eval()


def scorer(model_type, **sizes):
    return AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(model_type, num_labels=1, **sizes)
    ).eval()


@pytest.mark.parametrize(
    ("make", "model_type", "sizes", "limit"),
    [
        (policy, "llama", {**SIZES, "max_position_embeddings": 64}, 64),
        (policy, "gpt2", {**GPT, "n_positions": 64}, 64),
        (policy, "gptj", {**GPT, "n_positions": 64, "rotary_dim": 4}, 64),
        (policy, "mpt", {"vocab_size": 50, "d_model": 16, "n_layers": 1, "n_heads": 2, "max_seq_len": 64}, 64),
        # a table of 66 rows, of which the first 2 are never read
        (policy, "opt", {**SIZES, "max_position_embeddings": 64, "ffn_dim": 16, "word_embed_proj_dim": 16}, 64),
        (policy, "bloom", {"vocab_size": 50, "hidden_size": 16, "n_layer": 1, "n_head": 2}, None),
        (policy, "mamba", STATE, None),
        (scorer, "bert", {**SIZES, "max_position_embeddings": 64}, 64),
        (scorer, "roberta", {**SIZES, **PAD_1}, 64),  # 66 - 1 - 1
        (scorer, "mpnet", {**SIZES, **PAD_1}, 64),
        # a classifier that reads its reward at a token which no row of equal tokens has
        (scorer, "bart", {"vocab_size": 50, "d_model": 16, **LAYERS, "max_position_embeddings": 64}, 64),
        (scorer, "xlnet", {"vocab_size": 50, "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}, None),
    ],
)
def test_a_model_reads_as_many_tokens_as_it_says(make, model_type, sizes, limit):
    model = make(model_type, **sizes)
    assert usable_length(model) == limit
    if limit is None:
        assert shortfall(model, 100) is None
    else:
        assert shortfall(model, limit) is None
        assert shortfall(model, limit + 1) == f"reads {limit} tokens at most"


def test_longrope_changes_a_row_by_its_neighbours_beyond_its_original_positions():
    rope = {"rope_type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [2.0, 4.0]}
    positions = {"max_position_embeddings": 64, "original_max_position_embeddings": 16, "eos_token_id": 2}
    sizes = {**SIZES, **positions, "hidden_size": 8, "initializer_range": 0.5}
    model = policy("phi3", **sizes, num_key_value_heads=2, rope_parameters=rope | {"rope_theta": 10.0}, pad_token_id=0)
    assert usable_length(model) == 16
    assert shortfall(model, 16) is None
    assert shortfall(model, 17).startswith("reads 16 tokens at most (with longrope, one longer row of a batch changes")
    short = torch.randint(1, 50, (1, 6), generator=torch.Generator().manual_seed(0))

    def alongside(width):  # the short row's logits, padded on the right to `width`
        ids = torch.cat([torch.nn.functional.pad(short, (0, width - 6)), torch.ones(1, width, dtype=torch.int64)])
        return model(input_ids=ids).logits[0, :6]

    torch.testing.assert_close(alongside(16), model(input_ids=short).logits[0])
    assert (alongside(17) - model(input_ids=short).logits[0]).abs().max() > 1e-4


def test_a_limit_that_nobody_names_shows_in_a_pass_where_that_is_cheap(monkeypatch):
    model = scorer("bert", **SIZES, max_position_embeddings=64)
    model.config.max_position_embeddings = 128
    assert shortfall(model, 64) is None
    assert shortfall(model, 65).startswith("fails on a text of 65 tokens (")
    monkeypatch.setattr(lengths, "_CHEAP", 0)
    assert shortfall(model, 65) is None


def test_memory_is_no_limit_of_a_model(monkeypatch):
    def full(model, num_tokens):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(lengths, "_pass", full)
    with pytest.raises(torch.OutOfMemoryError):
        shortfall(tiny_models.policy(), 8)


def test_a_roberta_is_asked_for_no_more_than_the_positions_behind_its_pad_token(tmp_path):
    scorer("roberta", **{**SIZES, **PAD_1, "vocab_size": 320}).save_pretrained(tmp_path)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    load_scorer(ModelSpec(str(tmp_path), max_tokens=64))
    with pytest.raises(ModelError, match="asked to read up to max_tokens 66, but reads 64 tokens at most; lower"):
        load_scorer(ModelSpec(str(tmp_path), max_tokens=66))
