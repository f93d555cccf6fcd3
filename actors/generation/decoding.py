"""Decoding one token at a time for all rows of a chunk, with a key-value cache.

Prompts are padded on the left and prefilled once each, however many samples they get. `ExpandedDecoder` is here, on
transformers' own caches and masks; `SharedPrefixDecoder` (shared_prefix.py) is faster for models in which every layer
attends to the whole past, and `RecomputingDecoder` (recomputing.py) needs no cache. `choose_decoder` tries them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache

Prompts = Sequence[Sequence[int]]


class Decoder(Protocol):
    """The state of a chunk under generation."""

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token per row, [rows] int64; returns the next logits, [rows, vocabulary]."""
        ...

    def keep(self, alive: Tensor) -> None:
        """Drop the rows that are not `alive`, [rows] bool."""
        ...


class ExpandedDecoder:
    """Any cache that transformers knows (sliding windows, recurrent layers), repeated for every sample."""

    def __init__(self, model: PreTrainedModel, cache: Cache, real: Tensor) -> None:
        self._model = model
        self._cache = cache
        self._real = real  # 1 = a real token, [rows, slots]

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder.step`."""
        positions = self._real.sum(1, keepdim=True)
        self._real = torch.cat([self._real, self._real.new_ones(len(tokens), 1)], dim=1)
        # A model of recurrent layers alone has padding in its state only, and expects no mask of tokens it has read.
        real = None if is_recurrent(self._model) else self._real
        return last_logits(self._model, tokens[:, None], real, positions, self._cache)

    def keep(self, alive: Tensor) -> None:
        """See `Decoder.keep`."""
        rows = alive.nonzero().squeeze(1)
        self._real = self._real[rows]
        self._cache.reorder_cache(cast(torch.LongTensor, rows))


def prefill_expanded(
    model: PreTrainedModel, prompts: Prompts, samples_per_prompt: int, max_new_tokens: int
) -> tuple[ExpandedDecoder, Tensor]:
    """Prefill the prompts; returns the decoder of all rows (prompt-major) and the first logits, [rows, vocabulary].

    The cache grows with the rows, so `max_new_tokens` reserves nothing.
    """
    ids, real = left_padded(prompts, model.device)
    cache = DynamicCache(config=model.config)
    logits = last_logits(model, ids, real, positions_of(real), cache)
    # reorder_cache selects rows, repeatedly too, and is the one such method that recurrent layers have as well.
    rows = torch.arange(len(prompts), device=model.device).repeat_interleave(samples_per_prompt)
    cache.reorder_cache(cast(torch.LongTensor, rows))
    return ExpandedDecoder(model, cache, real[rows]), logits[rows]


def last_logits(model: PreTrainedModel, ids: Tensor, real: Tensor | None, positions: Tensor, cache: Cache) -> Tensor:
    """Logits after the last column of `ids`, [rows, vocabulary]; `cache` grows by the columns of `ids`."""
    position_ids = {"position_ids": positions} if takes(model, "position_ids") else {}
    named_cache = {"cache_params" if is_recurrent(model) else "past_key_values": cache}
    logits: Tensor = model(
        input_ids=ids, attention_mask=real, use_cache=True, logits_to_keep=1, **named_cache, **position_ids
    ).logits
    return logits[:, -1]


def is_recurrent(model: PreTrainedModel) -> bool:
    """Whether all layers are recurrent (Mamba): such models name their cache differently, and ignore the usual name."""
    return takes(model, "cache_params")


def takes(model: PreTrainedModel, argument: str) -> bool:
    """Whether the model's forward pass has a parameter of this name."""
    return argument in _parameters(type(model).forward)


@cache
def _parameters(forward: Callable[..., object]) -> frozenset[str]:
    """Names of the parameters of a forward pass; asked at every token."""
    return frozenset(inspect.signature(forward).parameters)


def positions_of(real: Tensor) -> Tensor:
    """Position of each token behind left padding, [rows, columns]; 0 on the padding."""
    return (real.cumsum(1) - 1).clamp_min(0)


def left_padded(prompts: Prompts, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids, and 1 where a token is real; both [prompts, width] int64."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    real = torch.zeros(len(prompts), width, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.as_tensor(prompt)
        real[row, width - len(prompt) :] = 1
    return ids.to(device), real.to(device)
