"""Low-rank adapters on a policy (peft), in place: trained instead of its weights, and switched off to have pi_0.

The policy keeps its class and its own weights, which never change. So the same process computes the policy and pi_0,
and only adapters are published, saved and optimised. They stay apart from the weights (never merged) while a run lasts:
learner and rollout actors compute the same sums, and in bfloat16 a small change is not rounded away.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import peft
import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from actors.learning.specs import Lora
from actors.weights.published import ADAPTER_MARK
from allgood.errors import ModelError

_ADAPTER = "default"  # peft's name for the only one
_BASE = ".base_layer"  # what peft adds to the names of adapted weights


def add_adapters(model: PreTrainedModel, lora: Lora) -> None:
    """Give the linear layers that `lora` names adapters that change nothing yet; the model's own weights are frozen.

    Raises:
        ModelError: A named layer does not exist, is not linear, or is the output layer of a model that ties it to its
            embeddings.
    """
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # any number will do
        target_modules=targets,
        task_type=peft.TaskType.CAUSAL_LM,
    )
    model.requires_grad_(False)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")  # it then sets that itself
            peft.inject_adapter_in_model(config, model)
    except ValueError as error:
        raise ModelError(
            f"align.lora.target_modules {lora.target_modules!r} do not fit this policy ({error}); use 'all-linear', or "
            "names of its linear layers"
        ) from error
    _check_layers(model)


def initial_adapters(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Iterator[tuple[str, Tensor]]:
    """Fresh values, as peft draws them: uniform for A, 0 for B, whose product is 0. A function of names and seed."""
    generator = torch.Generator().manual_seed(seed)
    for name, shape in shapes.items():
        value = torch.zeros(shape)
        if ".lora_A." in name:
            nn.init.kaiming_uniform_(value, a=math.sqrt(5), generator=generator)
        yield name, value


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Inside this context the model computes pi_0."""
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    # Not `enable_adapters`: that also decides which parameters have gradients.
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def merged_tensors(model: nn.Module, whole: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Name and value of every tensor of the plain model that computes the same.

    Args:
        model: A model, with adapters or without.
        whole: Gives a tensor of the model's state dict by name.
    """
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    for name in model.state_dict():
        if ADAPTER_MARK in name:
            continue
        layer_name = name.removesuffix(f"{_BASE}.weight")
        value = whole(name)
        if layer_name in adapted and name.endswith(".weight"):
            a, b = (whole(f"{layer_name}.lora_{side}.{_ADAPTER}.weight") for side in "AB")
            value = value + _change(adapted[layer_name], a, b).to(value.dtype)
        yield name.replace(_BASE, ""), value


def _change(layer: LoraLayer, a: Tensor, b: Tensor) -> Tensor:
    """What the adapters add to the weight of a layer."""
    product: Tensor = (b.float() @ a.float()) * layer.scaling[_ADAPTER]
    return product.T if isinstance(layer.get_base_layer(), Conv1D) else product


def _check_layers(model: PreTrainedModel) -> None:
    output, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    for name, module in model.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        base = module.get_base_layer()
        if not isinstance(base, nn.Linear | Conv1D):
            raise ModelError(
                f"align.lora.target_modules names {name!r}, a {type(base).__name__}; adapters go on linear layers"
            )
        if module is output and base.weight is getattr(embeddings, "weight", None):
            raise ModelError(
                f"align.lora.target_modules names {name!r}, whose weights are those of the embeddings; leave it out, "
                "or its adapters could not be merged"
            )
