"""Loading models and tokenizers: what is accepted, and what is refused with which words."""

import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from allgood.errors import ModelError
from allgood.scorers.models import (
    check_policy_tokenizer,
    load_classifier,
    load_policy,
    load_reward_model,
    load_tokenizer,
    resolve_device,
    resolve_dtype,
)
from tests.actors import tiny_models

CPU = torch.device("cpu")


def test_a_policy_loads_in_evaluation_mode_with_the_asked_dtype(tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    model = load_policy(folder, dtype=torch.bfloat16, device=CPU)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_reward_model_loads_in_float32_with_its_tokenizer(tmp_path):
    folder = tiny_models.save_scorer(tmp_path)
    AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    model, tokenizer = load_reward_model(folder, device=CPU)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training
    assert len(tokenizer) == len(tiny_models.tokenizer())


def test_a_folder_without_weights_is_refused_with_a_remedy(tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights.*save_pretrained"):
        load_policy(folder, dtype=torch.float32, device=CPU)
    with pytest.raises(ModelError, match="has no weights"):
        load_reward_model(folder, device=CPU)


def test_a_folder_with_an_empty_weight_file_is_refused(tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="has no weights"):
        load_policy(folder, dtype=torch.float32, device=CPU)


def test_damaged_weights_are_refused(tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="no model can be loaded"):
        load_policy(folder, dtype=torch.float32, device=CPU)


def test_a_folder_that_is_no_model_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_policy(tmp_path, dtype=torch.float32, device=CPU)
    with pytest.raises(ModelError, match="does not exist"):
        load_policy(tmp_path / "nowhere", dtype=torch.float32, device=CPU)


def test_an_unknown_name_is_refused():
    with pytest.raises(ModelError, match="'no-such-model'"):
        load_policy("no-such-model", dtype=torch.float32, device=CPU)


def test_a_reward_model_with_two_labels_is_refused(tmp_path):
    folder = tiny_models.save_scorer(tmp_path, num_labels=2)
    with pytest.raises(ModelError, match="has 2 labels.*exactly 1.*kind: classifier"):
        load_reward_model(folder, device=CPU)


def test_a_policy_in_place_of_a_reward_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="is a LlamaForCausalLM, which writes texts and judges none"):
        load_reward_model(tiny_models.save_policy(tmp_path), device=CPU)


def test_a_reward_model_whose_head_was_never_trained_is_refused(tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": {"0": "reward"}}))
    with pytest.raises(ModelError, match="no trained scorer: it lacks the weights score.weight"):
        load_reward_model(folder, device=CPU)


def test_a_policy_without_all_its_weights_is_refused(tmp_path):
    folder = tiny_models.save_policy(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3, "layer_types": None}))
    with pytest.raises(ModelError, match="lacks the weights"):
        load_policy(folder, dtype=torch.float32, device=CPU)


def test_a_classifier_needs_two_labels_and_the_one_asked_for(tmp_path):
    two, one = tiny_models.save_scorer(tmp_path / "two", num_labels=2), tiny_models.save_scorer(tmp_path / "one")
    model, _ = load_classifier(two, 1, device=CPU)
    assert model.config.num_labels == 2
    with pytest.raises(ModelError, match="no label 2; `label` may be 0 to 1"):
        load_classifier(two, 2, device=CPU)
    with pytest.raises(ModelError, match="has 1 label"):
        load_classifier(one, 0, device=CPU)


def test_a_missing_tokenizer_is_refused(tmp_path):
    tiny_models.policy().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no tokenizer can be loaded"):
        load_tokenizer(tmp_path)
    with pytest.raises(ModelError, match="there is no model folder '.*absent'; check the path"):
        load_tokenizer(tmp_path / "absent")


def test_a_policy_tokenizer_without_eos_is_refused():
    with pytest.raises(ModelError, match="no EOS token"):
        check_policy_tokenizer(tiny_models.tokenizer(eos=False))


def test_a_missing_pad_token_becomes_eos_and_is_said(caplog):
    tokenizer = tiny_models.tokenizer(pad=False)
    check_policy_tokenizer(tokenizer)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert "has no pad token; EOS ('<eos>') pads instead" in caplog.text


def test_auto_means_bfloat16_on_a_gpu_and_float32_on_a_cpu():
    assert resolve_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert resolve_dtype("auto", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(ModelError, match="int8"):
        resolve_dtype("int8", CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    assert resolve_device("auto") == CPU
    with pytest.raises(ModelError, match="sees no GPU"):
        resolve_device("cuda")
