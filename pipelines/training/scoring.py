"""Rewards and embeddings of rows that are tokenised already."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from allgood.batching import token_budget_batches
from pipelines.output.progress import Bar
from pipelines.training.rows import Ragged

_MAX_TOKENS = 16_384  # padded tokens that share a forward pass


@torch.inference_mode()
def score_tokens(model: PreTrainedModel, rows: Ragged, *, pad_token: int, bar: Bar) -> NDArray[np.float32]:
    """The single logit of every row, [rows] float32."""
    rewards = np.empty(len(rows), dtype=np.float32)
    for batch, ids, mask in _batches(rows, pad_token, model.device):
        rewards[batch] = model(input_ids=ids, attention_mask=mask).logits[:, 0].float().cpu().numpy()
        bar.advance(len(batch))
    return rewards


@torch.inference_mode()
def mean_pooled(model: PreTrainedModel, rows: Ragged, *, pad_token: int, bar: Bar) -> NDArray[np.float64]:
    """The mean of an encoder's last hidden states over the tokens of every row, [rows, features]."""
    embeddings = np.empty((len(rows), model.config.hidden_size))
    for batch, ids, mask in _batches(rows, pad_token, model.device):
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        embeddings[batch] = means.cpu().numpy()
        bar.advance(len(batch))
    return embeddings


def _batches(rows: Ragged, pad_token: int, device: torch.device) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """(row indices, input ids, attention mask), both [rows, tokens] on `device`."""
    lengths = rows.lengths
    for batch in token_budget_batches(lengths.tolist(), max_tokens=_MAX_TOKENS):
        width = int(lengths[batch].max())
        ids = torch.from_numpy(rows.pad(batch, value=pad_token, width=width))
        mask = torch.from_numpy((np.arange(width) < lengths[batch][:, None]).astype(np.int64))
        yield batch, ids.to(device), mask.to(device)
