"""What a weight file holds beyond the model that its config describes.

transformers drops it: the bias of a head, the mean and variance of a normaliser. The numbers are then not those of the
model that was trained, so it is refused, or shown where it cannot matter.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path

from transformers import PreTrainedModel

from allgood.errors import ModelError

logger = logging.getLogger(__name__)

# Constants that older versions of transformers saved along with the weights.
_CONSTANTS = re.compile(
    r"(^|\.)(inv_freq|position_ids|token_type_ids|masked_bias|cos_cached|sin_cached|(attn|attention)\.bias)$"
)
# What a backbone was trained with and a scorer does not need: heads over the vocabulary, and what pools for them.
_HEADS_OF_PRETRAINING = re.compile(
    r"^(lm_head|embed_out|cls|lm_loss|predictions|mask_predictions|lm_predictions|generator_predictions|"
    r"discriminator_predictions|generator_lm_head)\.|(^|\.)pooler\."
)


def check_unused_of_policy(model: PreTrainedModel, unused: Collection[str], source: str | Path) -> None:
    """Refuse weights that belong to the model's own modules; show others, such as a value head.

    Raises:
        ModelError: The file has more than its config says.
    """
    others = _refuse_unused_of_modules(model, unused, source)
    if others:
        logger.warning("%r holds weights that no causal language model uses: %s", str(source), some(others))


def check_unused_of_backbone(model: PreTrainedModel, unused: Collection[str], source: str | Path) -> None:
    """Refuse weights that belong to modules of the backbone; whatever head the file has is not used by design.

    Raises:
        ModelError: The file has more than its config says.
    """
    _refuse_unused_of_modules(model, unused, source)


def check_unused_of_scorer(model: PreTrainedModel, unused: Collection[str], source: str | Path) -> None:
    """Refuse everything but heads of pretraining: what a scorer drops changes its rewards.

    Raises:
        ModelError: The file has more than its config says.
    """
    others = _refuse_unused_of_modules(model, unused, source)
    lost = [name for name in others if not _HEADS_OF_PRETRAINING.search(name)]
    if lost:
        raise ModelError(_more_than_the_model(lost, source))


def some(names: Collection[str]) -> str:
    """The first three names, and how many more there are."""
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _refuse_unused_of_modules(model: PreTrainedModel, unused: Collection[str], source: str | Path) -> list[str]:
    """Refuse weights of modules that the model has; returns the other unused ones, constants left out."""
    names = [name for name in unused if not _CONSTANTS.search(name)]
    modules = {name for name, _ in model.named_modules() if name}
    prefix = f"{model.base_model_prefix}."
    lost = [
        name
        for name in names
        # A file may name the modules of a backbone with or without the prefix that the whole model gives them.
        if {module := name.rpartition(".")[0], module.removeprefix(prefix), prefix + module} & modules
    ]
    if lost:
        raise ModelError(_more_than_the_model(lost, source))
    return names


def _more_than_the_model(names: Collection[str], source: str | Path) -> str:
    return (
        f"the weight file of {str(source)!r} holds more than the model of its config.json: {some(names)} would be "
        "dropped, and its numbers would not be those of the model that was trained; give a config.json that has them, "
        "or a model without them"
    )
