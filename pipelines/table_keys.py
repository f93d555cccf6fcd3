"""What reference numbers depend on, as hashes: SFT policy, tokenizer and template, reward models, decoding settings.

A reference table carries these keys and a run computes its own; where they differ the table belongs to another run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from allgood.errors import ConfigError, ModelError
from pipelines.config.properties import (
    ClassifierProperty,
    DatasetReference,
    EnsembleProperty,
    FunctionProperty,
    ModelProperty,
    PredictedReference,
    Property,
    Reference,
)
from pipelines.config.run import RunConfig
from pipelines.data.prepared import prepared_key
from pipelines.reference_table import sha256_of
from pipelines.run_folder import RunFolder

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")
_TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
    "spiece.model",
)


def table_keys(config: RunConfig, properties: list[str]) -> dict[str, Any]:
    """Keys of a reference table for these properties, flat, JSON values only."""
    policy = str(RunFolder(config.base_folder).sft / "best")
    keys: dict[str, Any] = {
        "policy": model_hash(policy),
        "tokenizer": tokenizer_hash(policy),
        "sampling.max_new_tokens": config.sampling.max_new_tokens,
        "sampling.max_prompt_tokens": config.sampling.max_prompt_tokens,
        "sampling.stop": list(config.sampling.stop),
        "sampling.temperature": config.sampling.temperature,
        "sampling.top_p": config.sampling.top_p,
        "sampling.top_k": config.sampling.top_k,
    }
    for name in properties:
        keys |= _property_keys(config, name)
        if isinstance(config.properties[name].reference, DatasetReference):
            keys["data"] = prepared_key(RunFolder(config.base_folder).data)
        keys |= encoder_keys(config.properties[name].reference)
    return keys


def encoder_keys(reference: Reference) -> dict[str, Any]:
    """The encoder that a predicted reference stands on, where it names one."""
    if not isinstance(reference, PredictedReference) or reference.encoder is None:
        return {}
    return {f"encoder.{reference.encoder}": model_hash(reference.encoder)}


def _property_keys(config: RunConfig, name: str) -> dict[str, Any]:
    setting = config.properties[name]
    source = scorer_source(config, name)
    if isinstance(setting, FunctionProperty):
        return {f"reward_model.{name}": function_hash(source)}
    if isinstance(setting, EnsembleProperty):
        return {
            f"reward_model.{name}": [model_hash(member) for member in setting.members],
            f"reward_tokenizer.{name}": [tokenizer_hash(member) for member in setting.members],
            f"combine.{name}": setting.combine.model_dump(mode="json"),
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


def scorer_source(config: RunConfig, name: str) -> str:
    """What scores a property: a model's name or folder, "module:function", or an ensemble's members joined by +."""
    setting: Property = config.properties[name]
    if isinstance(setting, FunctionProperty):
        return setting.function
    if isinstance(setting, ClassifierProperty):
        return setting.model
    if isinstance(setting, EnsembleProperty):
        return " + ".join(setting.members)
    return setting.model or str(RunFolder(config.base_folder).reward(name) / "best")


def temperature(config: RunConfig, name: str) -> float:
    """The number that divides rewards and references: 1, or with `calibrate` the one that `allgood reward` fitted.

    Raises:
        ModelError: `calibrate` is set and there is no fitted temperature.
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
    return fitted


def model_hash(source: str) -> str:
    """sha256 over weight files and config.json of a folder; for a name on the hub, the name and its commit."""
    return _files_hash(source, ("config.json", *_WEIGHTS))


def tokenizer_hash(source: str) -> str:
    """sha256 over tokenizer files and chat template of a folder; for a name on the hub, the name and its commit."""
    return _files_hash(source, _TOKENIZER)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy tokenizer files and chat template as they are: loading and saving again could change them."""
    for pattern in _TOKENIZER:
        for path in source.glob(pattern):
            shutil.copyfile(path, target / path.name)


def _files_hash(source: str, patterns: tuple[str, ...]) -> str:
    folder = Path(source)
    if not folder.is_dir():
        return _hub_commit(source)
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    if not files:
        raise ModelError(
            f"{folder} holds none of {', '.join(patterns)}; is it a model folder written by save_pretrained?"
        )
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _hub_commit(name: str) -> str:
    from transformers.utils.hub import cached_file, extract_commit_hash  # heavy, and only hub names need it

    try:
        path = cached_file(name, "config.json")
    except OSError as error:
        raise ModelError(
            f"there is no model folder and no hub model {name!r} ({str(error).splitlines()[0]})"
        ) from error
    return f"hub:{name}@{extract_commit_hash(path, None)}"


def function_hash(name: str) -> str:
    """A "module:function" and the sha256 of its module's code.

    Raises:
        ConfigError: There is no such module.
    """
    module, _, _ = name.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:  # a package that it would lie in is missing
        spec = None
    if spec is None:
        raise ConfigError(
            f"there is no module {module!r} for {name!r}, neither where the command runs nor among what is installed"
        )
    code = sha256_of(Path(spec.origin)) if spec.origin and Path(spec.origin).is_file() else ""
    return f"function:{name}@{code[:16]}"
