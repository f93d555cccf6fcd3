"""The shape of a model from its configuration: no weights are made or loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DynamicCache,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import DynamicLayer

from allgood.errors import ModelError
from pipelines.inspection.memory import Shape
from pipelines.output.quiet import quiet_transformers

_INNER_SIZES = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "d_ff", "d_inner")


def policy_skeleton(config: PreTrainedConfig) -> PreTrainedModel:
    """The causal language model without any memory behind its weights (torch's meta device).

    Raises:
        ModelError: transformers makes no such model of this configuration.
    """
    return _skeleton(AutoModelForCausalLM, config)


def scorer_skeleton(config: PreTrainedConfig) -> PreTrainedModel:
    """The sequence classifier without any memory behind its weights; errors as `policy_skeleton`."""
    return _skeleton(AutoModelForSequenceClassification, config)


def shape_of(model: PreTrainedModel) -> Shape:
    """What of a model, or of a skeleton, decides about memory."""
    text = model.config.get_text_config()
    values: dict[str, Any] = text.to_dict()
    hidden = int(text.hidden_size)
    return Shape(
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        num_layers=int(text.num_hidden_layers),
        hidden_size=hidden,
        inner_size=_inner_size(values, hidden),
        key_size=_key_size(text, hidden),
        vocab_size=int(text.vocab_size),
        shares_prompts=all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers),
    )


def num_adapter_parameters(model: PreTrainedModel, rank: int, target_modules: Sequence[str] | str) -> int:
    """Parameters of low-rank adapters: rank * (inputs + outputs) of every linear layer that is adapted."""
    head = model.get_output_embeddings()
    return sum(
        rank * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module is not head
        and (target_modules == "all-linear" or name.rpartition(".")[2] in target_modules)
    )


def _skeleton(
    auto_class: type[AutoModelForCausalLM] | type[AutoModelForSequenceClassification], config: PreTrainedConfig
) -> PreTrainedModel:
    try:
        with quiet_transformers(), torch.device("meta"):
            model: PreTrainedModel = auto_class.from_config(config, trust_remote_code=False)
    except (ValueError, KeyError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ModelError(f"no model can be made of the configuration of {config.name_or_path!r}: {error}") from error
    return model


def _key_size(text: PreTrainedConfig, hidden: int) -> int:
    """0 where no layer attends; GPT-2 and others call the heads by a name of their own."""
    try:
        heads = int(text.num_attention_heads)
    except AttributeError:
        return 0
    values: dict[str, Any] = text.to_dict()
    return int(values.get("num_key_value_heads") or heads) * int(values.get("head_dim") or hidden // heads)


def _inner_size(values: dict[str, Any], hidden: int) -> int:
    inner = next((int(values[name]) for name in _INNER_SIZES if values.get(name)), 4 * hidden)
    experts = values.get("num_experts_per_tok")
    return inner if not experts else int(experts) * int(values.get("moe_intermediate_size") or inner)
