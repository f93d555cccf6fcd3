"""Log-probabilities of response tokens under a policy, in one full forward pass over prompt and response.

Rows are ragged: a prompt and a response per row, as token ids (never re-tokenised). Temperature is 1. Rows are padded
on the right, where causal attention never looks, so no attention mask is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from actors.learning.memory import in_halves_once
from actors.messages import FloatRow, LogProbs, Retry, Rollout, TokenRow
from allgood.batching import token_budget_batches
from allgood.kl import full


@dataclass(frozen=True)
class ResponseLogProbs:
    """Padded views of response tokens, all [rows, tokens]; column j is the j-th response token.

    All but `mask` are float32, in nats, and 0 where `mask` is False. `entropies` carry no gradient. `full_kl`, the KL
    to another model over the whole vocabulary, is there where that model was given.
    """

    logprobs: Tensor
    entropies: Tensor
    mask: Tensor
    full_kl: Tensor | None = None


def micro_batches(prompts: Sequence[TokenRow], responses: Sequence[TokenRow], *, max_tokens: int) -> list[list[int]]:
    """Row indices per forward pass: length-sorted, at most `max_tokens` padded tokens, decided by the rows alone."""
    return token_budget_batches(
        [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)], max_tokens=max_tokens
    )


def response_logprobs(
    model: PreTrainedModel,
    prompts: Sequence[TokenRow],
    responses: Sequence[TokenRow],
    *,
    pi_0: Callable[..., Any] | None = None,
) -> ResponseLogProbs:
    """Log pi of every response token, for the rows of one micro-batch, with gradients if they are enabled.

    Args:
        model: A causal language model; its mode (dropout) is the caller's business.
        prompts: Token ids of the prompt, one array per row, none empty.
        responses: Token ids of the response, one array per row, none empty.
        pi_0: The model that `full_kl` is measured to, or its forward pass; it gets no gradient.
    """
    prompt_lengths = np.array([len(row) for row in prompts])
    response_lengths = np.array([len(row) for row in responses])
    if not prompt_lengths.all() or not response_lengths.all():
        raise ValueError("every row needs at least one prompt token and one response token")
    device = model.device
    ids = torch.from_numpy(_pad(prompts, responses)).to(device)
    mask_rows, mask_columns = np.nonzero(np.arange(response_lengths.max()) < response_lengths[:, None])
    rows, columns = torch.from_numpy(mask_rows).to(device), torch.from_numpy(mask_columns).to(device)
    starts = torch.from_numpy(prompt_lengths).to(device)[rows] + columns  # position of each response token

    first = int(prompt_lengths.min()) - 1  # logits before this position belong to prompts only

    def distribution(of: Callable[..., Any]) -> Tensor:  # [tokens of all responses, vocabulary], in float32
        kept = ids.shape[1] - 1 - first
        # Models without that argument may swallow it, and give the logits of all positions.
        logits = of(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=kept).logits[:, -kept:]
        chosen: Tensor = logits[rows, starts - 1 - first]
        return chosen.float().log_softmax(-1)

    def padded(flat: Tensor) -> Tensor:
        empty = torch.zeros((len(responses), int(response_lengths.max())), dtype=flat.dtype, device=device)
        return empty.index_put((rows, columns), flat)

    reference = None
    if pi_0 is not None:  # first, so that what the model's layers keep for the backward pass is the policy's own
        with torch.no_grad():
            reference = distribution(pi_0)
    own = distribution(model)
    return ResponseLogProbs(
        logprobs=padded(own.gather(-1, ids[rows, starts][:, None]).squeeze(-1)),
        entropies=padded(_entropies(own)),
        mask=padded(torch.ones(len(rows), dtype=torch.bool, device=device)),
        full_kl=None if reference is None else padded(full(own, reference)),
    )


def ragged_logprobs(
    model: PreTrainedModel, prompts: Sequence[TokenRow], responses: Sequence[TokenRow], *, micro_batch_tokens: int
) -> tuple[FloatRow, ...]:
    """Log pi of every response token, one float32 array per row in the order given, without gradients."""
    return _ragged_logprobs(model, prompts, responses, micro_batch_tokens, retries=[])


def _ragged_logprobs(
    model: PreTrainedModel,
    prompts: Sequence[TokenRow],
    responses: Sequence[TokenRow],
    micro_batch_tokens: int,
    *,
    retries: list[Retry],
) -> tuple[FloatRow, ...]:
    def of_rows(rows: Sequence[int]) -> FloatRow:  # [rows, tokens]
        padded = response_logprobs(model, [prompts[i] for i in rows], [responses[i] for i in rows])
        values: FloatRow = padded.logprobs.cpu().numpy()
        return values

    result: list[FloatRow] = [np.empty(0, np.float32)] * len(responses)
    with torch.inference_mode():
        for batch in micro_batches(prompts, responses, max_tokens=micro_batch_tokens):
            for rows, values in in_halves_once(batch, of_rows, retries):
                for position, row in enumerate(rows):
                    result[row] = values[position, : len(responses[row])].copy()
    return tuple(result)


def rollout_logprobs(model: PreTrainedModel, rollout: Rollout, *, micro_batch_tokens: int) -> LogProbs:
    """Log-probs at temperature 1, under `model`, of every response token id of a rollout."""
    started = time.perf_counter()
    samples = rollout.chunk.samples_per_prompt
    prompts = [rollout.prompt_tokens[row // samples] for row in range(len(rollout.response_tokens))]
    retries: list[Retry] = []
    rows = _ragged_logprobs(model, prompts, rollout.response_tokens, micro_batch_tokens, retries=retries)
    return LogProbs(rows=rows, seconds=time.perf_counter() - started, retries=tuple(retries))


@torch.no_grad()
def _entropies(distribution: Tensor) -> Tensor:
    """Of log-probabilities [tokens, vocabulary]."""
    # exp(-inf) * -inf is NaN; a token that cannot be drawn adds nothing to the entropy
    return -(distribution.exp() * distribution.clamp_min(torch.finfo(torch.float32).min)).sum(-1)


def _pad(prompts: Sequence[TokenRow], responses: Sequence[TokenRow]) -> np.ndarray:
    rows = [np.concatenate([p, r]) for p, r in zip(prompts, responses, strict=True)]
    # Padding is any valid id: causal attention never lets a real token see it.
    padded = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded
