"""Low-rank adapters through peft, merged before saving, so that plain transformers loads the result."""

from __future__ import annotations

import copy
from typing import Literal

import peft
from torch import nn
from transformers import PreTrainedModel

from allgood.errors import ConfigError
from pipelines.config.training import LoraConfig


def add_adapters(
    model: PreTrainedModel, config: LoraConfig, *, task: Literal["CAUSAL_LM", "SEQ_CLS"]
) -> peft.PeftModel:
    """`model` with trainable adapters; its own weights are frozen (a classification head stays trainable)."""
    targets = config.target_modules if config.target_modules == "all-linear" else list(config.target_modules)
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=config.dropout,
        target_modules=targets,
        task_type=peft.TaskType(task),
    )
    try:
        return peft.get_peft_model(model, settings)
    except ValueError as error:
        raise ConfigError(
            f"`lora.target_modules` {config.target_modules!r} do not fit this model ({error}); "
            "use 'all-linear', or names of its layers"
        ) from error


def turn_on_dropout(model: nn.Module) -> None:
    """Train the adapters with their own dropout, whatever mode the rest of the model is in."""
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            module.train()


def merged(model: nn.Module) -> PreTrainedModel:
    """A model without adapters that computes the same; `model` itself is left as it is."""
    plain = copy.deepcopy(model)
    assert isinstance(plain, peft.PeftModel)
    merged_model: PreTrainedModel = plain.merge_and_unload()
    return merged_model
