"""Which decoder samples a policy: the fastest one whose logits are those of a plain forward pass.

Nothing in transformers tells how a model keeps what it has read, and a decoder that is wrong about it samples another
policy without any error. So every decoder is tried when an engine starts, on a few short rows of different lengths:
after the prompts, and after two more tokens with one row dropped between them. All rows end in the same token, so
that their logits differ by what was read before, which is what a wrong decoder loses.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.generation.decoding import Decoder, Prompts, prefill_expanded
from actors.generation.recomputing import prefill_recomputing
from actors.generation.shared_prefix import prefill_shared, share_prefixes, share_prefixes_no_more
from allgood.errors import ModelError, RoleError

logger = logging.getLogger(__name__)

Prefill = Callable[[PreTrainedModel, Prompts, int, int], tuple[Decoder, Tensor]]
"""Model, prompts, samples per prompt, new tokens per row at most -> the decoder of all rows, and the first logits."""

# What a model does with arguments or shapes that it does not know.
_MISFITS = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError)

# What rounding may do to logits, relative to their spread over the vocabulary (2e-6 and 2e-2 with 24 layers). As a
# fresh model hardly depends on the context, a bound relative to that alone would be below what rounding does.
_ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 1e-1}

_LENGTHS = (6, 2, 4)  # of the prompts; convolutions of recurrent layers commonly read 4 tokens
_SAMPLES = 2
_KEPT = (0, 2, 3, 4, 5)  # the rows after the first step


def choose_decoder(model: PreTrainedModel) -> Prefill:
    """How this model is decoded.

    Raises:
        ModelError: No decoder gives the logits of a plain forward pass: the model is not causal.
        RoleError: The model's logits are not numbers.
    """
    plain = _plain_logits(model)
    if any(logits.isnan().any() for logits in plain):
        raise RoleError("the policy's logits are not finite: its weights hold NaN or infinity")
    if share_prefixes(model):
        if _agrees(model, prefill_shared, plain):
            return prefill_shared
        share_prefixes_no_more(model)
    if _agrees(model, prefill_expanded, plain):
        return prefill_expanded
    if _agrees(model, prefill_recomputing, plain):
        logger.warning(
            "%s keeps a cache that only its own code knows, so every token is sampled by a pass over its whole row; "
            "this is right, but slow",
            type(model).__name__,
        )
        return prefill_recomputing
    raise ModelError(
        f"{type(model).__name__} cannot be sampled: its logits after a prompt depend on what follows or stands beside "
        "it in a batch; give a causal language model"
    )


def _agrees(model: PreTrainedModel, prefill: Prefill, plain: tuple[Tensor, Tensor]) -> bool:
    """Whether a decoder's logits after the prompts and after two tokens are the `plain` ones."""
    try:
        found = _decoded_logits(model, prefill)
    except _MISFITS:
        return False
    return all(_same(*pair, dtype=model.dtype) for pair in zip(found, plain, strict=True))


def _same(found: Tensor, plain: Tensor, *, dtype: torch.dtype) -> bool:
    """Whether logits [rows, vocabulary] agree: to 1e-3 of how much they depend on what was read, and to rounding."""
    found, plain = _centred(found), _centred(plain)
    told = (plain - plain.mean(0)).square().mean().sqrt()
    rounding = _ROUNDING[dtype] * plain.square().mean().sqrt()
    errors = (found - plain).square().mean(1).sqrt()
    # In half precision a mixture of experts may route a row elsewhere, so the middle row decides there.
    error = errors.max() if dtype == torch.float32 else errors.median()
    return bool(error <= 1e-3 * told + rounding)


def _centred(logits: Tensor) -> Tensor:
    logprobs = logits.float().log_softmax(-1).clamp_min(-30.0)  # -inf forbids a token, and has no mean
    return logprobs - logprobs.mean(-1, keepdim=True)


@torch.inference_mode()
def _decoded_logits(model: PreTrainedModel, prefill: Prefill) -> tuple[Tensor, Tensor]:
    prompts, first, last = _probe(model)
    decoder, after_prompts = prefill(model, prompts, _SAMPLES, 2)
    decoder.step(first)
    kept = torch.zeros(len(first), dtype=torch.bool, device=first.device)
    kept[list(_KEPT)] = True
    decoder.keep(kept)
    return after_prompts, decoder.step(last[kept])


@torch.inference_mode()
def _plain_logits(model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Logits after the prompt, of every row, and at the end, of the kept rows; each row in a pass of its own."""
    prompts, first, last = _probe(model)
    after_prompts, at_end = [], []
    for row in range(len(first)):
        prompt = prompts[row // _SAMPLES]
        ids = torch.tensor([[*prompt, int(first[row]), int(last[row])]], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0]
        after_prompts.append(logits[len(prompt) - 1])
        if row in _KEPT:
            at_end.append(logits[-1])
    return torch.stack(after_prompts), torch.stack(at_end)


def _probe(model: PreTrainedModel) -> tuple[list[list[int]], Tensor, Tensor]:
    """Prompts, and the two tokens that follow in each row, [rows]: one by sample, then the same for all."""
    vocabulary = cast(nn.Embedding, model.get_input_embeddings()).num_embeddings
    tokens = iter(range(7, 10_000, 13))

    def token() -> int:
        return next(tokens) % vocabulary

    end = token()
    prompts = [[*(token() for _ in range(length - 1)), end] for length in _LENGTHS]
    by_sample = [token() for _ in range(_SAMPLES)]
    first = torch.tensor(by_sample * len(prompts), device=model.device)
    return prompts, first, torch.full_like(first, end)
