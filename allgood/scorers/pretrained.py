"""Models of transformers as scorers: load, check against the spec, and hand over how they encode and compute."""

from __future__ import annotations

from functools import partial

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from allgood.errors import ModelError
from allgood.scorers.encoding import encode_all_for_scoring
from allgood.scorers.lengths import shortfall
from allgood.scorers.model_scorer import Logits, ModelScorer
from allgood.scorers.models import load_classifier, load_reward_model, resolve_device
from allgood.scorers.spec import ClassifierSpec, ModelSpec
from allgood.scorers.token_ids import configured_pad_token


def load_pretrained(spec: ModelSpec | ClassifierSpec) -> ModelScorer:
    """The model's scorer.

    Raises:
        ModelError: As in `load_reward_model` and `load_classifier`; or the model reads fewer than `max_tokens` tokens.
    """
    device = resolve_device(spec.device)
    if isinstance(spec, ClassifierSpec):
        model, tokenizer = load_classifier(spec.source, spec.label, device=device)
        label = spec.label
    else:
        model, tokenizer = load_reward_model(spec.source, device=device)
        label = None
    short = shortfall(model, spec.max_tokens)
    if short is not None:
        raise ModelError(
            f"{spec.kind} {spec.source!r} is asked to read up to max_tokens {spec.max_tokens}, but {short}; "
            "lower its max_tokens"
        )
    return ModelScorer(
        _logits(model),
        partial(encode_all_for_scoring, tokenizer, max_tokens=spec.max_tokens),
        name=f"{spec.kind} {spec.source!r}",
        pad_token=_pad_token(model, tokenizer),
        label=label,
        micro_batch_tokens=spec.micro_batch_tokens,
    )


def _logits(model: PreTrainedModel) -> Logits:
    def logits(ids: Tensor, mask: Tensor | None) -> Tensor:
        mask = None if mask is None else mask.to(model.device)
        result: Tensor = model(input_ids=ids.to(model.device), attention_mask=mask).logits
        return result

    return logits


def _pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """What pads a batch; None for a causal classifier without a pad token, which finds the end of a row by it."""
    configured = configured_pad_token(model)
    reads_last_token = tokenizer.cls_token_id is None
    return configured if configured is not None or reads_last_token else tokenizer.pad_token_id
