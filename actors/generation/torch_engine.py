"""Our own engine, around the forward pass of any Hugging Face causal language model.

`TorchEngine` samples the policy itself: temperature 1, nothing cut. The behaviour log-probs come from the very logits
that were sampled from, so no second pass is needed. Sampling inverts the distribution function at uniform numbers keyed
by (seed, sample, position): a call's result depends on its arguments and the weights alone, never on what the process
did before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from actors.generation.decoder_choice import choose_decoder
from actors.generation.engine import Generation
from actors.generation.seeds import uniforms
from actors.generation.stopping import StopStrings, end_tokens
from actors.messages import FinishReason, Weights
from actors.weights.copying import copy_weights
from allgood.errors import RoleError

Value = TypeVar("Value", np.int32, np.float32)

# Dropping finished rows copies the cache, so it is done when at least this share of the rows has ended.
_COMPACTION_SHARE = 0.5


class TorchEngine:
    """A decoding loop; it owns the model that it samples from."""

    exact_logprobs = True  # they come from the logits that were sampled from

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
    ) -> None:
        self._model = model
        self._max_new_tokens = max_new_tokens
        self._end_tokens = end_tokens(model.generation_config, tokenizer)
        self._stop = StopStrings(tokenizer, stop)
        self._prefill = choose_decoder(model)

    def set_weights(self, weights: Weights) -> None:
        """See `Engine.set_weights`: they are copied into the model's own parameters."""
        copy_weights(weights, self._model)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], samples_per_prompt: int, seed: int) -> Generation:
        """See `Engine.generate`.

        Raises:
            RoleError: The model's logits are not finite.
        """
        num_rows = len(prompts) * samples_per_prompt
        decoder, logits = self._prefill(self._model, prompts, samples_per_prompt, self._max_new_tokens)
        draws = uniforms(seed, num_rows, self._max_new_tokens)
        record = _Record(num_rows, self._max_new_tokens)
        rows = np.arange(num_rows)  # the row of the chunk behind each row of the decoder
        for position in range(self._max_new_tokens):
            step = _sample(logits, torch.from_numpy(draws[rows, position]).to(logits.device))
            record.write(rows, position, step)
            alive = self._mark_ended(record, rows, position)
            if not alive.any() or position + 1 == self._max_new_tokens:
                break
            tokens = step.tokens
            if alive.mean() <= 1.0 - _COMPACTION_SHARE:
                kept = torch.from_numpy(alive).to(tokens.device)
                decoder.keep(kept)
                rows, tokens = rows[alive], tokens[kept]
            logits = decoder.step(tokens)
        return record.finish()

    def _mark_ended(self, record: _Record, rows: NDArray[np.intp], position: int) -> NDArray[np.bool_]:
        """Note which rows end at `position`; returns which of `rows` go on. Rows that ended earlier stay ended."""
        tokens = record.tokens[rows, position]
        fresh = record.lengths[rows] == 0
        record.end(rows[fresh & np.isin(tokens, self._end_tokens)], position, "eos")
        for row in rows[fresh & self._stop.may_complete(tokens)]:
            if record.lengths[row] == 0 and self._stop.found(record.tokens[row, : position + 1]):
                record.end(row, position, "stop")
        alive: NDArray[np.bool_] = record.lengths[rows] == 0
        return alive


@dataclass(frozen=True)
class _Step:
    """One sampled token per row, with its log-prob and the entropy of its distribution, all [rows]."""

    tokens: Tensor
    logprobs: Tensor
    entropies: Tensor


def _sample(logits: Tensor, draws: Tensor) -> _Step:
    """Invert the distribution function of softmax(logits) [rows, vocabulary] at `draws` [rows] in [0, 1).

    exp and the sums of log-probs are float32, the distribution function float64: float32 sums over a large vocabulary
    would move mass between tokens.
    """
    # The clamp keeps 0 * -inf = NaN out of the entropy where a model forbids tokens with -inf.
    logits = logits.float()
    shifted = (logits - logits.amax(-1, keepdim=True)).clamp_min_(-1e4)
    weights = shifted.exp()
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1]
    # NaN logits find no token; the clamp lets their NaN log-prob reach the check in `_Record.finish`.
    tokens = torch.searchsorted(cumulative, (draws * total)[:, None], right=True).clamp_max_(logits.shape[-1] - 1)
    log_total = total.log()
    logprobs = shifted.gather(-1, tokens).squeeze(-1) - log_total
    entropies = log_total - (weights * shifted).sum(-1) / total
    return _Step(tokens.squeeze(-1), logprobs.float(), entropies.float())


class _Record:
    """What was sampled, [rows, positions]; `lengths` is 0 for a row that has not ended."""

    def __init__(self, num_rows: int, num_tokens: int) -> None:
        self.tokens = np.zeros((num_rows, num_tokens), dtype=np.int32)
        self.lengths = np.zeros(num_rows, dtype=np.int64)
        self._logprobs = np.zeros((num_rows, num_tokens), dtype=np.float32)
        self._entropies = np.zeros((num_rows, num_tokens), dtype=np.float32)
        self._reasons = np.full(num_rows, "length", dtype=object)

    def write(self, rows: NDArray[np.intp], position: int, step: _Step) -> None:
        self.tokens[rows, position] = step.tokens.cpu().numpy()
        self._logprobs[rows, position] = step.logprobs.cpu().numpy()
        self._entropies[rows, position] = step.entropies.cpu().numpy()

    def end(self, rows: NDArray[np.intp], position: int, reason: FinishReason) -> None:
        self.lengths[rows] = position + 1
        self._reasons[rows] = reason

    def finish(self) -> Generation:
        lengths = np.where(self.lengths == 0, self.tokens.shape[1], self.lengths)
        logprobs = _cut(self._logprobs, lengths)
        if not all(np.isfinite(row).all() for row in logprobs):
            raise RoleError("the policy gave a log-prob that is not finite: its weights or logits hold NaN or infinity")
        return Generation(_cut(self.tokens, lengths), logprobs, _cut(self._entropies, lengths), tuple(self._reasons))


def _cut(array: NDArray[Value], lengths: NDArray[np.int64]) -> tuple[NDArray[Value], ...]:
    return tuple(row[:length].copy() for row, length in zip(array, lengths, strict=True))
