"""Decoding without a cache: every token costs a forward pass over its whole row.

Slow, and right for every causal model, also one whose cache nobody here knows. Rows are padded on the right, where a
causal model never looks: this is the pass that gives the reference policy's log-probs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from actors.generation.decoding import Prompts, takes
from allgood.batching import token_budget_batches

_PASS_TOKENS = 16_384  # padded tokens that share a forward pass


class RecomputingDecoder:
    """Keeps the rows themselves: `ids` [rows, columns], of which the first `lengths` [rows] are real."""

    def __init__(self, model: PreTrainedModel, ids: Tensor, lengths: Tensor) -> None:
        self._model = model
        self._ids = ids
        self._lengths = lengths

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder.step`."""
        self._ids.scatter_(1, self._lengths[:, None], tokens[:, None])
        self._lengths = self._lengths + 1
        return self.logits()

    def keep(self, alive: Tensor) -> None:
        """See `Decoder.keep`."""
        self._ids, self._lengths = self._ids[alive], self._lengths[alive]

    def logits(self) -> Tensor:
        """Logits after the last token of every row, [rows, vocabulary]."""
        parts: list[tuple[list[int], Tensor]] = []
        for batch in token_budget_batches(self._lengths.tolist(), max_tokens=_PASS_TOKENS):
            parts.append((batch, _last_logits(self._model, self._ids[batch], self._lengths[batch])))
        order = torch.tensor([row for batch, _ in parts for row in batch], device=self._ids.device)
        return torch.cat([logits for _, logits in parts])[order.argsort()]


def prefill_recomputing(
    model: PreTrainedModel, prompts: Prompts, samples_per_prompt: int, max_new_tokens: int
) -> tuple[RecomputingDecoder, Tensor]:
    """The decoder of all rows (prompt-major) and the first logits, [rows, vocabulary]."""
    width = max(len(prompt) for prompt in prompts) + max_new_tokens
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.as_tensor(prompt)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    ids = ids.to(model.device)
    logits = RecomputingDecoder(model, ids, lengths).logits()
    rows = torch.arange(len(prompts), device=model.device).repeat_interleave(samples_per_prompt)
    return RecomputingDecoder(model, ids[rows], lengths[rows]), logits[rows]


def _last_logits(model: PreTrainedModel, ids: Tensor, lengths: Tensor) -> Tensor:
    """Logits after `lengths` [rows] tokens of `ids` [rows, columns], [rows, vocabulary]."""
    ids = ids[:, : int(lengths.max())]
    columns = torch.unique(lengths - 1)
    if takes(model, "logits_to_keep"):  # the head over the whole vocabulary is what takes memory
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=columns).logits
    else:
        logits = model(input_ids=ids, use_cache=False).logits[:, columns]
    rows = torch.arange(len(ids), device=ids.device)
    chosen: Tensor = logits[rows, torch.searchsorted(columns, lengths - 1)]
    return chosen
