"""What reference numbers depend on: everything that changes a score changes a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.reward import RewardSpec
from allgood.errors import ConfigError, ModelError
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec
from pipelines.cast.request import reward_parts
from pipelines.config.run import RunConfig
from pipelines.output.hashes import function_hash
from pipelines.references.keys import encoder_keys, table_keys, temperature
from tests.actors.tiny_models import save_policy
from tests.pipelines.tiny_run import tiny_config
from tests.templates import template_tokenizer


def with_property(folder: Path, **setting: object) -> RunConfig:
    return tiny_config(
        folder,
        properties={"tone": setting},
        objective={"kind": "formula", "expression": "tone"},
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with weights and a tokenizer; and the SFT policy of `tiny_config`."""
    save_policy(tmp_path / "base" / "sft" / "best")
    save_policy(tmp_path / "scorer")
    return tmp_path / "scorer"


def test_every_setting_of_a_classifier_that_changes_its_scores_changes_a_key(tmp_path: Path, model: Path) -> None:
    kind = {"kind": "classifier", "model": str(model)}
    keys = table_keys(with_property(tmp_path, **kind, label=1), ["tone"])
    for change in ({"label": 0}, {"max_tokens": 17}):
        assert table_keys(with_property(tmp_path, **kind, **change), ["tone"]) != keys


def test_an_encoder_that_was_trained_again_changes_the_key_of_predicted_references(tmp_path: Path, model: Path) -> None:
    reference = {"kind": "predicted", "quantile": 0.85, "encoder": str(model)}
    config = with_property(tmp_path, kind="model", model=str(model), reference=reference)
    before = table_keys(config, ["tone"])
    key = f"encoder.{model}"
    assert before[key] == encoder_keys(config.properties["tone"].reference)[key]
    (model / "model.safetensors").write_bytes(b"other weights")
    assert table_keys(config, ["tone"])[key] != before[key]


def test_the_key_of_stop_texts_is_what_the_policy_s_format_asks_for(tmp_path: Path, model: Path) -> None:
    config = with_property(tmp_path, kind="model", model=str(model))
    assert config.sampling.stop is None
    assert table_keys(config, [])["sampling.stop"] == ["\n\nHuman:"]  # as tables of all versions have it
    template_tokenizer("chatml").save_pretrained(tmp_path / "base" / "sft" / "best")
    assert table_keys(config, [])["sampling.stop"] == []


@pytest.mark.parametrize("name", ["no_such_module:score", "no.such.package:score"])
def test_a_function_of_a_missing_module_is_told_as_that(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no module 'no.*where the command runs"):
        function_hash(name)


def test_models_reach_their_actors_by_absolute_paths(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = with_property(tmp_path, kind="ensemble", members=["scorer", "somebody/on-the-hub"])
    spec = reward_parts(config)["tone"].spec
    assert isinstance(spec, RewardSpec)
    assert isinstance(spec.scorer, EnsembleSpec)
    assert spec.scorer.members == (str(model), "somebody/on-the-hub")
    classifier = reward_parts(with_property(tmp_path, kind="classifier", model="scorer"))["tone"].spec
    assert isinstance(classifier, RewardSpec)
    assert isinstance(classifier.scorer, ClassifierSpec)
    assert classifier.scorer.source == str(model)


def test_a_temperature_at_the_bound_of_its_fit_divides_nothing(tmp_path: Path) -> None:
    config = with_property(tmp_path, kind="model", calibrate=True)
    report = tmp_path / "base" / "reward" / "tone" / "report.json"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"temperature": 1.7}))
    assert temperature(config, "tone") == 1.7
    report.write_text(json.dumps({"temperature": 0.001}))
    with pytest.raises(
        ModelError, match=r"properties\.tone\.calibrate: .* is 0\.001, the bound of the fit: .*right on"
    ):
        temperature(config, "tone")
