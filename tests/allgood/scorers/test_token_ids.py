"""A tokenizer whose tokens are no rows of the embedding is refused where the model is loaded."""

import json
import logging

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from actors.rollout import RolloutWorker
from allgood.errors import ModelError
from allgood.scorers.models import load_encoder, load_policy, load_reward_model
from allgood.scorers.token_ids import check_token_ids
from pipelines.training.sources import backbone_tokenizer, policy_tokenizer, pretrained_policy, reward_backbone
from tests.actors import tiny_models
from tests.actors.specs import rollout_spec

CPU = torch.device("cpu")
BEYOND = r"has '\[PAD\]', but the model's embedding ends at token 319; save the model again after resize_token_emb"


def with_pad_token_added(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == 320
    tokenizer.save_pretrained(folder)
    return folder


def with_pad_token_id(folder, value):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pad_token_id": value}))
    return str(folder)


def test_a_pad_token_that_was_added_without_a_row_is_refused_by_whoever_loads(tmp_path):
    policy = with_pad_token_added(tiny_models.save_policy(tmp_path / "policy"))
    with pytest.raises(ModelError, match=BEYOND):
        RolloutWorker(rollout_spec(policy, max_new_tokens=4, max_prompt_tokens=8))
    with pytest.raises(ModelError, match=BEYOND):
        pretrained_policy(policy, policy_tokenizer(policy))
    with pytest.raises(ModelError, match=BEYOND):
        reward_backbone(policy, 0, backbone_tokenizer(policy))
    with pytest.raises(ModelError, match=BEYOND):
        load_encoder(policy, device=CPU)
    scorer = with_pad_token_added(tiny_models.save_scorer(tmp_path / "scorer"))
    with pytest.raises(ModelError, match=BEYOND):
        load_reward_model(scorer, device=CPU)


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_a_pad_token_id_below_0_or_beyond_the_embedding_is_refused(architecture, tmp_path):
    tiny_models.save_scorer(tmp_path, architecture)
    with pytest.raises(ModelError, match=r"is -1, but the embedding has rows 0 to 319; set it to .* \(0\), or to null"):
        load_reward_model(with_pad_token_id(tmp_path, -1), device=CPU)
    with pytest.raises(ModelError, match="`pad_token_id` in config.json of .* is no row of the model's embedding"):
        load_reward_model(with_pad_token_id(tmp_path, 320), device=CPU)
    tiny_models.save_policy(tmp_path)
    source = with_pad_token_id(tmp_path, -1)
    with pytest.raises(ModelError, match="is -1"):
        pretrained_policy(source, policy_tokenizer(source))


def test_a_token_of_the_chat_template_must_be_a_row_and_any_other_is_shown(tmp_path, caplog):
    model, tokenizer = tiny_models.policy(), tiny_models.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<|im_end|>"]})
    with caplog.at_level(logging.WARNING):
        check_token_ids(model, tokenizer, "it")
    assert (
        "tokens that the model cannot read, as its embedding ends at token 319: '<image>', '<|im_end|>'" in caplog.text
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    with pytest.raises(ModelError, match=r"tokenizer of 'it' has '<\|im_end\|>', but"):
        check_token_ids(model, tokenizer, "it")


def test_an_embedding_that_is_larger_than_the_tokenizer_is_fine(tmp_path):
    folder = tiny_models.save_policy(tmp_path, vocab_size=400)
    check_token_ids(load_policy(folder, dtype=torch.float32, device=CPU), tiny_models.tokenizer(), folder)


def test_a_model_that_reads_characters_has_no_rows_to_check():
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = AutoConfig.for_model("canine", num_hash_buckets=16, local_transformer_stride=8, **sizes)
    model = AutoModelForSequenceClassification.from_config(config)
    check_token_ids(model, tiny_models.tokenizer(), "it")
