"""Batches for learner tests: ragged, with groups of different size, as dropped samples leave them."""

from __future__ import annotations

import numpy as np
from transformers import PreTrainedModel

from actors.learning.token_logprobs import ragged_logprobs
from actors.messages import Batch

PROMPT_LENGTHS = (5, 5, 5, 9, 9, 3, 3, 3, 3)
RESPONSE_LENGTHS = (4, 1, 7, 2, 6, 3, 8, 5, 4)
GROUPS = (0, 0, 0, 4, 4, 7, 7, 7, 7)


def ragged_batch(
    model: PreTrainedModel, *, step: int = 0, policy_version: int = 0, kl_coefficient: float = 0.3, seed: int = 0
) -> Batch:
    """9 responses to 3 prompts; log-probs are those of `model`, the reference's differ from them by noise."""
    generator = np.random.default_rng(seed)
    prompts = {group: generator.integers(3, 300, length) for group, length in zip(GROUPS, PROMPT_LENGTHS, strict=True)}
    prompt_tokens = tuple(prompts[group].astype(np.int32) for group in GROUPS)
    response_tokens = tuple(generator.integers(3, 300, length).astype(np.int32) for length in RESPONSE_LENGTHS)
    logprobs = ragged_logprobs(model, prompt_tokens, response_tokens, micro_batch_tokens=10_000)
    reference = tuple((row + generator.normal(0, 0.2, len(row))).astype(np.float32) for row in logprobs)
    return Batch(
        step=step,
        prompt_tokens=prompt_tokens,
        response_tokens=response_tokens,
        logprobs=logprobs,
        reference_logprobs=reference,
        utilities=generator.normal(0, 2, len(GROUPS)).astype(np.float32),
        groups=np.array(GROUPS),
        kl_coefficient=kl_coefficient,
        policy_version=policy_version,
    )
