"""TRL (1.16): SFT in which each row counts by its `weight`, such as the `weighted.jsonl` of `allgood best-of-k`.

The loss is the sum over rows of weight * (-log pi of the completion), divided by the number of tokens as TRL does it.
With the weights of a tilt its minimum is the optimum of E[u] - gamma * KL, as far as the policy can express it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from trl import SFTTrainer

from allgood.errors import ConfigError, DataError

_WEIGHT = "weight"


class WeightedSFTTrainer(SFTTrainer):
    """`SFTTrainer` for a data set with a column `weight`, at least 0 and 1 on average. Arguments are those of TRL.

    Raises:
        ConfigError: Packing is on, which puts rows of different weights into one, or a loss other than `nll` is chosen.
        DataError: The column is missing.
    """

    data_collator: Callable[[list[dict[str, Any]]], dict[str, Any]]
    _signature_columns: list[str] | None

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if self.args.packing or self.args.padding_free or self.args.loss_type != "nll":
            raise ConfigError(
                "rows of different weights cannot share a packed row, and only the loss nll is weighted; set packing "
                "and padding_free to False, and loss_type to 'nll'"
            )
        if _WEIGHT not in self.train_dataset.column_names:
            raise DataError(f"the data set has no column {_WEIGHT!r}, but {', '.join(self.train_dataset.column_names)}")
        self._collated = self.data_collator
        self.data_collator = self._with_weights

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The weighted loss of a batch; see `transformers.Trainer.compute_loss`."""
        weights, labels = inputs.pop(_WEIGHT), inputs.pop("labels")
        outputs = model(**inputs, use_cache=False)
        logits, targets = outputs.logits[:, :-1].float(), labels[:, 1:]
        per_token = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-100, reduction="none")
        num_tokens = (targets != -100).sum() if num_items_in_batch is None else num_items_in_batch
        loss = (weights[:, None] * per_token).sum() / num_tokens
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = (
                loss * self.accelerator.num_processes
            )  # the tokens are those of all processes; gradients are averaged
        return (loss, outputs) if return_outputs else loss

    def _with_weights(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        weights = [row.pop(_WEIGHT) for row in rows]
        return {**self._collated(rows), _WEIGHT: torch.tensor(weights, dtype=torch.float32)}

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns = self._signature_columns or []
        self._signature_columns = columns if _WEIGHT in columns else [*columns, _WEIGHT]
