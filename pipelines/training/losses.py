"""What the two trainings minimise. Each function returns *sums* over its batch; "loss" carries the gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.training.rows import Tensors


def next_token_loss(model: nn.Module, batch: Tensors) -> Tensors:
    """Cross-entropy of the masked tokens given what stands before them: "loss" in nats, and "accuracy" (both sums).

    Rows are padded on the right, where causal attention never looks, so no attention mask is needed.
    """
    ids, mask = batch["input_ids"], batch["loss_mask"]
    first = int(mask.any(dim=0).int().argmax())  # at least 1: a conversation begins with its prompt
    # The head is computed from the first position whose prediction counts: prompts are long.
    logits = model(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=ids.shape[1] - first).logits
    counted = mask[:, first:]
    predictions, targets = logits[counted].float(), ids[:, first:][counted]
    return {
        "loss": F.cross_entropy(predictions, targets, reduction="sum"),
        "accuracy": (predictions.detach().argmax(-1) == targets).sum(),
    }


def bradley_terry_loss(model: nn.Module, batch: Tensors, *, center_coefficient: float) -> Tensors:
    """-log sigmoid(r+ - r- - margin) + coefficient * (r+ + r-)^2 ("loss"); both sides go through one forward pass.

    "log_loss" is -log sigmoid(r+ - r-) alone, by which the best model is chosen; "accuracy" counts ties half.
    """
    rewards = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0].float()
    chosen, rejected = rewards.chunk(2)
    difference = chosen - rejected
    loss = -F.logsigmoid(difference - batch["margins"]).sum()
    if center_coefficient:
        loss = loss + center_coefficient * (chosen + rejected).square().sum()
    with torch.no_grad():
        log_loss = -F.logsigmoid(difference).sum()
        accuracy = 0.5 * (1.0 + difference.sign()).sum()
    return {"loss": loss, "log_loss": log_loss, "accuracy": accuracy}
