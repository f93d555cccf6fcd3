"""Whether a reward model's backbone reads its padding, tried before the training and not hours later when it scores.

Rows of a batch are padded on the right. A backbone that looks at the padding (XLNet takes the last token of the padded
row as the end of the text) learns from it, and its rewards depend on the neighbours in a batch.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedModel

from allgood.errors import ModelError
from allgood.scorers.parity import largest_difference
from pipelines.training.rows import Ragged

_TOLERANCE = 1e-3  # of the spread of rewards
_QUANTILES = (0.0, 0.1, 0.25, 0.5)  # of the rows' lengths: what pads is seen on short rows too, and they cost less


def refuse_reading_padding(model: PreTrainedModel, rows: Ragged, *, pad_token: int, name: str) -> None:
    """Compare logits of a padded batch with those of each row alone.

    Raises:
        ModelError: They differ; `name` names the training.
    """
    samples = _samples(rows)
    device = next(model.parameters()).device
    width = max(map(len, samples))
    ids = torch.full((len(samples), width), pad_token, dtype=torch.int64, device=device)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(samples):
        ids[index, : len(row)], mask[index, : len(row)] = row.to(device), 1
    with torch.inference_mode():
        alone = [model(input_ids=row[None].to(device)).logits[0, 0].float().item() for row in samples]
        batched = model(input_ids=ids, attention_mask=mask).logits[:, 0].float().cpu().numpy()
    difference = largest_difference(batched, np.array(alone, dtype=np.float32))
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"training {name}: a {model.config.model_type} backbone reads its padding (a reward in a batch differs by "
            f"{difference:.0%} of the spread of rewards from that of the text alone), so it would learn from "
            "neighbours in a batch; take another backbone, or one whose pad_token_id is right"
        )


def _samples(rows: Ragged) -> list[torch.Tensor]:
    """A few rows, and the first half of one, so that there are different lengths."""
    order = np.argsort(rows.lengths, kind="stable")
    chosen = [rows[int(order[int(quantile * (len(rows) - 1))])] for quantile in _QUANTILES]
    half = chosen[-1][: max(1, len(chosen[-1]) // 2)]
    return [torch.from_numpy(row.astype(np.int64)) for row in (*chosen, half)]
