"""Weights that a file holds beyond the model of its config are refused, or shown where they cannot matter."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from allgood.errors import ModelError
from allgood.scorers.models import load_encoder, load_policy, load_reward_model
from pipelines.training.sources import backbone_tokenizer, reward_backbone
from tests.actors import tiny_models

CPU = torch.device("cpu")


def with_weights(folder, *names):
    file = f"{folder}/model.safetensors"
    save_file(load_file(file) | {name: torch.ones(1) for name in names}, file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "score.bias",  # of the head
        "model.layers.1.self_attn.q_proj.bias",  # of a layer
        "layers.1.self_attn.q_proj.bias",  # the same, named as the backbone alone does
        "mean",  # of a normaliser
        "normalizer.variance",
        "model.layers.2.mlp.up_proj.weight",  # a layer more
    ],
)
def test_a_scorer_whose_file_holds_more_is_refused(name, tmp_path):
    folder = with_weights(tiny_models.save_scorer(tmp_path, "llama"), name)
    with pytest.raises(ModelError, match=f"holds more than the model of its config.json: {name} would be dropped"):
        load_reward_model(folder, device=CPU)


def test_heads_of_pretraining_and_constants_are_no_part_of_a_scorer(tmp_path):
    names = ("lm_head.weight", "cls.predictions.bias", "model.pooler.dense.weight", "model.rotary_emb.inv_freq")
    folder = tiny_models.save_scorer(tmp_path, "llama")
    expected = load_reward_model(folder, device=CPU)[0].state_dict()
    found = load_reward_model(with_weights(folder, *names), device=CPU)[0].state_dict()
    assert all(torch.equal(found[name], weights) for name, weights in expected.items())


def test_a_policy_shows_what_it_does_not_use_and_refuses_what_its_modules_would(tmp_path, caplog):
    folder = with_weights(tiny_models.save_policy(tmp_path), "v_head.summary.weight")
    with caplog.at_level(logging.WARNING):
        load_policy(folder, dtype=torch.float32, device=CPU)
    assert "no causal language model uses: v_head.summary.weight" in caplog.text
    with_weights(folder, "model.layers.0.self_attn.q_proj.bias")
    with pytest.raises(ModelError, match="holds more than the model of its config.json: model.layers.0.self_attn"):
        load_policy(folder, dtype=torch.float32, device=CPU)


def test_a_backbone_may_have_any_head_but_no_more_in_its_layers(tmp_path):
    folder = with_weights(tiny_models.save_policy(tmp_path), "value.weight")
    load_encoder(folder, device=CPU)
    reward_backbone(folder, 0, backbone_tokenizer(folder))
    with_weights(folder, "model.layers.0.mlp.up_proj.bias")
    with pytest.raises(ModelError, match=r"mlp\.up_proj\.bias would be dropped"):
        load_encoder(folder, device=CPU)
    with pytest.raises(ModelError, match=r"mlp\.up_proj\.bias would be dropped"):
        reward_backbone(folder, 0, backbone_tokenizer(folder))


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_a_reward_model_is_no_policy(architecture, tmp_path):
    folder = tiny_models.save_scorer(tmp_path, architecture)
    with pytest.raises(ModelError, match="ForSequenceClassification, which judges texts and writes none"):
        load_policy(folder, dtype=torch.float32, device=CPU)


def test_a_reward_model_with_tied_embeddings_lacks_no_weights_and_is_no_policy_either(tmp_path):
    folder = tiny_models.save_scorer(tmp_path, "llama", tie_word_embeddings=True)
    with pytest.raises(ModelError, match="judges texts"):
        load_policy(folder, dtype=torch.float32, device=CPU)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": None}))
    load_policy(folder, dtype=torch.float32, device=CPU)  # says nothing of what it is; its head is shown
