"""What a model knows of a prompt: the mean of its last hidden states, for heads that predict references."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from allgood.errors import ModelError
from allgood.scorers.encoding import encode_all_for_scoring
from allgood.scorers.lengths import usable_length
from allgood.scorers.models import load_encoder, load_reward_model, resolve_device
from allgood.scorers.spec import ModelSpec, Reading, ScorerSpec

Features = Callable[[Sequence[str]], NDArray[np.float32]]
"""Features of prompts, [prompts, features]; a prompt of which nothing fits is a `ModelError`."""


class PromptFeatures:
    """Features of prompts, one at a time: no padding, so that a prompt's features do not depend on its neighbours."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> None:
        self._backbone, self._device = model.base_model, model.device
        self._tokenizer = tokenizer
        limit = usable_length(model)
        self._max_tokens = max_tokens if limit is None else min(max_tokens, limit)

    def __call__(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """[prompts, features] float32, of each prompt as the model reads it before an empty response."""
        encodings = encode_all_for_scoring(
            self._tokenizer, [(prompt, "") for prompt in prompts], max_tokens=self._max_tokens
        )
        rows = []
        with torch.inference_mode():
            for prompt, encoding in zip(prompts, encodings, strict=True):
                if encoding is None:
                    raise ModelError(f"nothing of the prompt {prompt[:60]!r} fits into {self._max_tokens} tokens")
                ids = torch.tensor([list(encoding.tokens)], device=self._device)
                hidden = self._backbone(input_ids=ids).last_hidden_state
                rows.append(hidden[0].float().mean(0).cpu().numpy())
        features: NDArray[np.float32] = np.stack(rows)
        return features


def load_features(scorer: ScorerSpec, encoder: str | None = None) -> PromptFeatures:
    """Features by `encoder` (folder or name on the hub), read as the scorer reads; absent: by the scorer itself.

    Raises:
        ModelError: There is no such encoder, or none is named and the scorer is not one model with hidden states.
    """
    reading = scorer if isinstance(scorer, Reading) else Reading()
    device = resolve_device(reading.device)
    if encoder is not None:
        model, tokenizer = load_encoder(encoder, device=device)
    elif isinstance(scorer, ModelSpec):  # loaded once more, and only by whoever predicts references
        model, tokenizer = load_reward_model(scorer.source, device=device)
    else:
        raise ModelError(f"the scorer is of kind {scorer.kind}, which has no features; name an encoder")
    return PromptFeatures(model, tokenizer, max_tokens=reading.max_tokens)
