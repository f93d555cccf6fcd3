"""Where a training starts: a policy or a reward model's backbone, loaded or made new, with its tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from actors.generation.stopping import end_tokens
from allgood.errors import ConfigError, ModelError
from allgood.scorers.hub_names import split_revision
from allgood.scorers.load_errors import in_one_line, loading
from allgood.scorers.model_files import check_model_folder
from allgood.scorers.models import check_policy_tokenizer, load_policy, load_tokenizer, read_config
from allgood.scorers.token_ids import check_token_ids
from allgood.scorers.weights import check_unused_of_backbone
from pipelines.output.quiet import quiet_transformers

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]

_SEQUENCE_CLASSIFIER = "ForSequenceClassification"


def absolute_source(source: str) -> str:
    """A local folder by its full path (Ray Train's workers have another current directory); a hub name as it is."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def policy_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a policy; refused without EOS, and with EOS as pad token where it has none."""
    tokenizer = load_tokenizer(source)
    check_policy_tokenizer(tokenizer)
    return tokenizer


def pretrained_policy(source: str, tokenizer: PreTrainedTokenizerBase) -> Loaded:
    """The causal language model called `source`, in float32 for training."""
    with quiet_transformers():
        model = load_policy(source, dtype=torch.float32, device=torch.device("cpu"))
    check_token_ids(model, tokenizer, source)
    _set_pad_token(model.config, tokenizer)
    _end_turns(model, tokenizer)
    return model, tokenizer


def new_policy(architecture: Mapping[str, object], tokenizer: PreTrainedTokenizerBase) -> Loaded:
    """An untrained policy of this architecture, with the tokenizer's vocabulary and special tokens.

    Raises:
        ConfigError: transformers does not know the architecture, or refuses its values.
    """
    settings: dict[str, Any] = dict(architecture)
    try:
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        config.vocab_size = len(tokenizer)
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        _set_pad_token(config, tokenizer)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except Exception as error:  # each config checks its values in ways of its own
        raise ConfigError(
            f"`policy.architecture` is no causal language model that transformers can make ({in_one_line(error)}); "
            "give `model_type` and the keys of that model's config"
        ) from error
    return model, tokenizer


def backbone_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a reward model's backbone, which needs a pad token; EOS serves where there is none.

    Raises:
        ModelError: It has neither.
    """
    tokenizer = load_tokenizer(source)
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of {source!r} has neither a pad nor an EOS token, so rows cannot be padded; "
            "set `pad_token` in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        logging.getLogger(__name__).warning(
            "the tokenizer of %r has no pad token; EOS (%r) pads instead", source, tokenizer.eos_token
        )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def reward_backbone(source: str, freeze_layers: int, tokenizer: PreTrainedTokenizerBase) -> Loaded:
    """A one-label sequence classifier on the model called `source`: its head is new, unless `source` has one already.

    Raises:
        ModelError: No weights; a classifier with another number of labels; a model that lacks more than a head.
        ConfigError: `freeze_layers` exceeds the layers.
    """
    check_model_folder(source)
    name, revision = split_revision(source)
    _refuse_other_classifiers(read_config(source), source)
    with loading("model", source), quiet_transformers():
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name,
            revision=revision or "main",
            num_labels=1,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
        )
    _refuse_missing_weights(model, info["missing_keys"], source)
    check_unused_of_backbone(model, info["unexpected_keys"], source)
    check_token_ids(model, tokenizer, source)
    _set_pad_token(model.config, tokenizer)
    freeze(model, freeze_layers)
    return model, tokenizer


def freeze(model: PreTrainedModel, num_layers: int) -> None:
    """Freeze the embeddings and the first `num_layers` layers; with 0, nothing.

    Whatever of the backbone computes before the first layer to train counts as embeddings.

    Raises:
        ConfigError: The backbone has no more layers than that, or its layers share their weights.
    """
    if num_layers == 0:
        return
    config = model.config.get_text_config()
    available = config.num_hidden_layers
    if num_layers >= available:
        raise ConfigError(
            f"`freeze_layers` is {num_layers}, but only {available - 1} of the backbone's {available} layers can freeze"
        )
    lists = (module for module in model.base_model.modules() if isinstance(module, nn.ModuleList))
    layers = next((module for module in lists if len(module) == available), None)
    if layers is None:
        raise ConfigError(
            f"`freeze_layers` is {num_layers}, but the {available} layers of a {config.model_type} backbone share "
            "weights, so that lower ones cannot be frozen alone; set freeze_layers: 0"
        )
    for module in _computing_before(layers[num_layers], model.base_model):
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)


class _LayerBeginsError(Exception):
    """Ends a forward pass: the layer that was waited for begins."""


def _computing_before(layer: nn.Module, backbone: nn.Module) -> list[nn.Module]:
    """The modules that begin before `layer` does when the backbone reads three tokens.

    Their order in the code says less: OPT defines its last norm before its layers.
    """
    begun: list[nn.Module] = []

    def begins(module: nn.Module, inputs: object) -> None:
        if module is layer:
            raise _LayerBeginsError
        begun.append(module)

    handles = [module.register_forward_pre_hook(begins) for module in backbone.modules()]
    try:
        with torch.inference_mode(), suppress(_LayerBeginsError):
            backbone(input_ids=torch.arange(3)[None], attention_mask=torch.ones(1, 3, dtype=torch.int64))
    finally:
        for handle in handles:
            handle.remove()
    return begun


def _end_turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Have whoever generates from the trained folder stop where a turn ends, as the training teaches it."""
    ends = end_tokens(model.generation_config, tokenizer).tolist()
    if model.generation_config is not None and len(ends) > 1:
        model.generation_config.eos_token_id = ends


def _set_pad_token(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    # Without it a causal classifier cannot tell where a padded row ends.
    config.pad_token_id = tokenizer.pad_token_id
    config.get_text_config().pad_token_id = tokenizer.pad_token_id


def _refuse_other_classifiers(config: PreTrainedConfig, source: str) -> None:
    is_classifier = any(name.endswith(_SEQUENCE_CLASSIFIER) for name in config.architectures or [])
    if is_classifier and config.num_labels != 1:
        raise ModelError(
            f"backbone {source!r} is a classifier with {config.num_labels} labels, a reward model has 1; "
            "give the model that it was trained from, or use it as it is with `kind: classifier`"
        )


def _refuse_missing_weights(model: PreTrainedModel, missing: set[str] | list[str], source: str) -> None:
    """The head of a reward model may be new, and the pooler that belongs to it; nothing else."""
    prefix = f"{model.base_model_prefix}."
    lost = sorted(name for name in missing if name.startswith(prefix) and "pooler" not in name)
    if lost:
        raise ModelError(
            f"backbone {source!r} lacks {len(lost)} weights, such as {lost[0]!r}; it is no complete model of its type"
        )
