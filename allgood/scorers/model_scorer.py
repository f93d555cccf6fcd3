"""A sequence classifier as a scorer. Whoever loads it hands over how it encodes and computes (`pretrained`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from allgood.batching import token_budget_batches
from allgood.scorers.scorer import Scored, nan_if_infinite

_TOO_LONG = "the response is longer than the model reads (max_tokens)"


@dataclass(frozen=True)
class Encoding:
    """A conversation as token ids, whether its prompt was cut from the left, and turns that a template changed."""

    tokens: Sequence[int]
    cut: bool
    num_changed: int = 0


Encode = Callable[[Sequence[tuple[str, str]]], Sequence[Encoding | None]]
"""(prompt, response) pairs -> tokens as the model wants them; None where the response alone does not fit."""

Logits = Callable[[Tensor, Tensor | None], Tensor]
"""Token ids [rows, tokens] int64 on the CPU and their attention mask (None: all real) -> logits [rows, labels]."""


class ModelScorer:
    """A sequence classifier as a scorer: its single logit, or with `label` the log-probability of that label.

    Rows of different length are padded with `pad_token`. Without one (a causal classifier that cannot tell where a row
    ends) each row goes alone. `name` is what messages call it.
    """

    def __init__(
        self,
        logits: Logits,
        encode: Encode,
        *,
        name: str,
        pad_token: int | None,
        label: int | None = None,
        micro_batch_tokens: int = 16_384,
    ) -> None:
        self.name = name
        self._logits = logits
        self._encode = encode
        self._pad_token = pad_token
        self._label = label
        self._micro_batch_tokens = micro_batch_tokens

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `scorer.Scorer.score`. A response that does not fit the model is NaN."""
        rewards, fitting = self._encoded(prompts, responses)
        rows, encodings = list(fitting), list(fitting.values())
        for batch in self._batches([len(encoding.tokens) for encoding in encodings]):
            rewards[[rows[i] for i in batch]] = self._forward([encodings[i].tokens for i in batch])
        num_prompts_cut = sum(encoding.cut for encoding in encodings)
        too_long = dict.fromkeys((row for row in range(len(responses)) if row not in fitting), _TOO_LONG)
        return Scored(nan_if_infinite(rewards), num_prompts_cut, too_long)

    def score_one_by_one(self, prompts: Sequence[str], responses: Sequence[str]) -> NDArray[np.float32]:
        """The same rewards with each conversation alone, unpadded and without a mask, [responses]."""
        rewards, fitting = self._encoded(prompts, responses)
        with torch.inference_mode():
            for row, encoding in fitting.items():
                rewards[row] = self._reward(self._logits(torch.tensor([list(encoding.tokens)]), None)).item()
        return nan_if_infinite(rewards)

    def _encoded(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> tuple[NDArray[np.float32], dict[int, Encoding]]:
        """Room for the rewards, all NaN, and the encodings of the rows that fit."""
        encodings = self._encode(list(zip(prompts, responses, strict=True)))
        fitting = {row: encoding for row, encoding in enumerate(encodings) if encoding is not None}
        return np.full(len(responses), np.nan, dtype=np.float32), fitting

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        if self._pad_token is None:
            return [[row] for row in range(len(lengths))]
        return token_budget_batches(lengths, max_tokens=self._micro_batch_tokens)

    @torch.inference_mode()
    def _forward(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Rewards of one micro-batch, [rows]."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self._pad_token or 0, dtype=torch.int64)
        mask = torch.zeros(len(rows), width, dtype=torch.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return self._reward(self._logits(ids, mask)).cpu().numpy()

    def _reward(self, logits: Tensor) -> Tensor:
        """Rewards from logits [rows, labels]."""
        logits = logits.float()
        if self._label is None:
            return logits[:, 0]
        # log-softmax rounds log P to 0 from log-odds of 17 up; this keeps it, and with it log P(not good), up to 88.
        others = torch.arange(logits.shape[1], device=logits.device) != self._label
        odds = logits[:, self._label] - logits[:, others].logsumexp(-1)
        return logsigmoid(odds).where(odds.isfinite(), torch.nan)  # an infinite logit is a failure, not certainty
