"""Low-rank adapters through peft, merged before saving, so that plain transformers loads the result."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Literal

import peft
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from allgood.errors import ConfigError
from pipelines.config.training import LoraConfig

logger = logging.getLogger(__name__)


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
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*tie_word_embeddings=True", UserWarning)  # `_untie` sees to it
            adapted = peft.get_peft_model(model, settings)
    except ValueError as error:
        raise ConfigError(
            f"`lora.target_modules` {config.target_modules!r} do not fit this model ({error}); "
            "use 'all-linear', or names of its layers"
        ) from error
    assert isinstance(adapted, peft.PeftModel)
    _untie(adapted, model)
    return adapted


def _untie(adapted: peft.PeftModel, model: PreTrainedModel) -> None:
    """Give the head a matrix of its own where only one of head and embeddings, which are tied, has adapters.

    Merged into a matrix that both use, the adapters of one would change the other too.
    """
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or not any(isinstance(module, BaseTunerLayer) for module in (embeddings, head)):
        return
    own, tied = _without_adapters(head), _without_adapters(embeddings)
    if own.weight is not tied.weight:
        return
    own.register_parameter("weight", nn.Parameter(own.get_parameter("weight").detach().clone(), requires_grad=False))
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    logger.warning(
        "lora.target_modules names one of tied embeddings and head: the trained model has both, untied, and is larger"
    )


def _without_adapters(module: nn.Module) -> nn.Module:
    if not isinstance(module, BaseTunerLayer):
        return module
    plain = module.base_layer
    assert isinstance(plain, nn.Module)
    return plain


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
