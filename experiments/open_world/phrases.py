"""Rare phrases of the open world: raters overvalue them, gold gives nothing for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.world.open_world.answers import read
from pipelines.world.open_world.vocabulary import RARE


def rare_shares(responses: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, Tensor]:
    """Per property, 1 where a response holds one of its rare phrases, else 0; float64 [prompts, samples]."""
    moves = [[set(read(response)) for response in row] for row in responses]
    return {
        name: torch.tensor([[not held.isdisjoint(RARE[name]) for held in row] for row in moves], dtype=torch.float64)
        for name in names
    }
