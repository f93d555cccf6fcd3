"""Which parameters of a policy are published: its adapters where it has some, since nothing else of it changes."""

from __future__ import annotations

from torch import nn

ADAPTER_MARK = "lora_"
"""In the names of adapters' parameters (peft)."""


def published_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """By name; tied parameters stand once."""
    named = dict(model.named_parameters())
    adapters = {name: parameter for name, parameter in named.items() if ADAPTER_MARK in name}
    return adapters or named
