"""What reference numbers depend on, as hashes: pi_0, its tokenizer and template, reward models, decoding settings.

A reference table carries these keys and a run computes its own; where they differ the table belongs to another run.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from allgood.errors import ModelError
from allgood.scorers.models import load_tokenizer
from allgood.scorers.policy_format import response_form
from pipelines.cast.request import scorer_source
from pipelines.config.properties import (
    ClassifierProperty,
    EnsembleProperty,
    FunctionProperty,
    HttpProperty,
    ModelProperty,
    Reference,
)
from pipelines.config.rl import TorchEngineConfig
from pipelines.config.run import RunConfig
from pipelines.data.prepared import prepared_key
from pipelines.output.hashes import function_hash, model_hash, tokenizer_hash
from pipelines.run.folder import RunFolder
from pipelines.run.start_policy import StartPolicy, start_policy
from pipelines.training.reward_report import refuse_bound


def table_keys(config: RunConfig, properties: list[str]) -> dict[str, Any]:
    """Keys of a reference table for these properties, flat, JSON values only."""
    policy = start_policy(config)
    keys: dict[str, Any] = {
        "policy": policy.weights_key,
        "tokenizer": policy.tokenizer_key,
        "sampling.max_new_tokens": config.sampling.max_new_tokens,
        "sampling.max_prompt_tokens": config.sampling.max_prompt_tokens,
        "sampling.stop": _stop(config, policy),
        "sampling.temperature": config.sampling.temperature,
        "sampling.top_p": config.sampling.top_p,
        "sampling.top_k": config.sampling.top_k,
    }
    if config.sampling.engine != TorchEngineConfig():  # older tables have no such key
        keys["sampling.engine"] = config.sampling.engine.model_dump(mode="json")
    for name in properties:
        keys |= _property_keys(config, name)
        if config.properties[name].reference.needs == "data":
            keys["data"] = prepared_key(RunFolder(config.base_folder).data)
        keys |= encoder_keys(config.properties[name].reference)
    return keys


def _stop(config: RunConfig, policy: StartPolicy) -> list[str]:
    """Texts that end a response: the run's, or those of the policy's format."""
    given = config.sampling.stop
    return list(response_form(load_tokenizer(policy.source)).stop if given is None else given)


def encoder_keys(reference: Reference) -> dict[str, Any]:
    """The encoder that a predicted reference stands on, where it names one."""
    return {f"encoder.{encoder}": model_hash(encoder) for encoder in reference.encoders if encoder is not None}


def _property_keys(config: RunConfig, name: str) -> dict[str, Any]:
    setting = config.properties[name]
    source = scorer_source(config, name)
    if isinstance(setting, FunctionProperty):
        return {f"reward_model.{name}": function_hash(source)}
    if isinstance(setting, HttpProperty):
        return {f"reward_model.{name}": setting.served_key}
    if isinstance(setting, EnsembleProperty):
        return {
            f"reward_model.{name}": [model_hash(member) for member in setting.members],
            f"reward_tokenizer.{name}": [tokenizer_hash(member) for member in setting.members],
            f"combine.{name}": asdict(setting.combine),
            f"max_tokens.{name}": setting.max_tokens,
        }
    return {
        f"reward_model.{name}": model_hash(source),
        f"reward_tokenizer.{name}": tokenizer_hash(source),
        f"max_tokens.{name}": setting.max_tokens,
        f"temperature.{name}": temperature(config, name),
        **({f"label.{name}": setting.label} if isinstance(setting, ClassifierProperty) else {}),
    }


def scorer_keys(config: RunConfig, name: str) -> dict[str, Any]:
    """What raw rewards of a property depend on: model, tokenizer and template, scoring limit."""
    return {key: value for key, value in _property_keys(config, name).items() if not key.startswith("temperature.")}


def temperature(config: RunConfig, name: str) -> float:
    """The number that divides rewards and references: 1, or with `calibrate` the one that `allgood reward` fitted.

    Raises:
        ModelError: `calibrate` is set and there is no fitted temperature, or it is the bound of the fit.
    """
    setting = config.properties[name]
    if not isinstance(setting, ModelProperty) or not setting.calibrate:
        return 1.0
    report = RunFolder(config.base_folder).reward(name) / "report.json"
    if setting.model is not None or not report.is_file():
        raise ModelError(
            f"properties.{name}.calibrate needs the temperature that `allgood reward` fits, but there is no {report}; "
            "train the reward model here, or set calibrate: false"
        )
    fitted: float = json.loads(report.read_text(encoding="utf-8"))["temperature"]
    refuse_bound(name, fitted)
    return fitted
