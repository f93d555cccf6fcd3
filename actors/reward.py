"""The reward worker: one property's scorer, and what a run makes of its rewards.

The model is loaded once; a `Treatment` (references and transform) is set per run. Several treatments live side by side
under their keys, so that arms of a comparison and trials of a sweep share one worker.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from actors.cluster.location import location
from actors.messages import FloatRow, Rollout, Scores
from allgood.errors import ModelError, RoleError
from allgood.scorers.encoding import encode_all_for_scoring
from allgood.scorers.ensemble import Combination, EnsembleScorer
from allgood.scorers.models import load_classifier, load_encoder, load_reward_model, resolve_device
from allgood.scorers.prompt_features import PromptFeatures
from allgood.scoring import FunctionScorer, Logits, ModelScorer, Scorer, load_function
from allgood.treatment import Treatment, require_references, transform_of, treat


@dataclass(frozen=True)
class RewardSpec:
    """What a reward actor is made of. `source` is a model's name or folder, or "module:function".

    An ensemble has `members`, each a model's name or folder, and a `combination`; its `source` names it in messages.
    """

    property: str
    kind: Literal["model", "classifier", "function", "ensemble"]
    source: str
    label: int = 1
    max_tokens: int = 512
    device: str = "auto"
    threads: int = 1
    micro_batch_tokens: int = 16_384
    members: tuple[str, ...] = ()
    combination: Combination | None = None


class RewardWorker:
    """Scores responses for one property."""

    def __init__(self, spec: RewardSpec) -> None:
        torch.set_num_threads(spec.threads)
        self._spec = spec
        self._scorer = _scorer(spec)
        self._treatments: dict[str, Treatment] = {}
        self._features: dict[str, PromptFeatures] = {}

    def set_treatment(self, treatment: Treatment) -> None:
        """Add or replace the treatment with this key.

        Raises:
            ConfigError: The transform is not known, or the temperature is not above 0.
        """
        transform_of(treatment, self._spec.property)
        self._treatments[treatment.key] = treatment

    def forget(self, key: str) -> None:
        """Drop a treatment when its run has ended, as it holds a reference per prompt; an unknown key is fine."""
        self._treatments.pop(key, None)

    def score(self, rollout: Rollout, key: str) -> Scores:
        """Reward, reference, margin and utility of every row; NaN in all four where scoring failed.

        Raises:
            RoleError: No treatment has this key.
            ReferenceTableError: A prompt of the rollout has no reference.
        """
        if key not in self._treatments:
            raise RoleError(f"reward worker {self._spec.property!r} has no treatment {key!r}; set one before scoring")
        started = time.perf_counter()
        chunk = rollout.chunk
        require_references(self._treatments[key], chunk.prompt_ids, self._spec.property)
        prompts = [prompt for prompt in chunk.prompts for _ in range(chunk.samples_per_prompt)]
        scored = self._scorer.score(prompts, rollout.responses)
        grid = scored.rewards.reshape(len(chunk.prompts), chunk.samples_per_prompt)
        treated = treat(self._treatments[key], grid, chunk.prompt_ids, property_name=self._spec.property)
        return Scores(
            property=self._spec.property,
            rewards=scored.rewards,
            references=treated.references.ravel(),
            margins=treated.margins.ravel(),
            utilities=treated.utilities.ravel(),
            num_prompts_cut=scored.num_prompts_cut,
            seconds=time.perf_counter() - started,
        )

    def score_texts(self, prompts: Sequence[str], responses: Sequence[str]) -> FloatRow:
        """Raw rewards, [responses] float32; NaN = failed."""
        return self._scorer.score(prompts, responses).rewards

    def prompt_features(self, prompts: Sequence[str], encoder: str | None = None) -> NDArray[np.float32]:
        """Mean of last hidden states over each prompt's tokens, [prompts, features]: of `encoder`, or of the scorer.

        Raises:
            ModelError: There is no such encoder, or none is named and the scorer is not one model with hidden states.
        """
        if encoder is None and self._spec.kind != "model":
            raise ModelError(
                f"property {self._spec.property!r} is of kind {self._spec.kind}, which has no features; name an encoder"
            )
        source = encoder or self._spec.source
        if source not in self._features:  # loaded once more, and only by runs that predict references
            load = load_reward_model if encoder is None else load_encoder
            model, tokenizer = load(source, device=resolve_device(self._spec.device))
            self._features[source] = PromptFeatures(model, tokenizer, max_tokens=self._spec.max_tokens)
        return self._features[source](prompts)

    def score_parity(self, prompts: Sequence[str], responses: Sequence[str], *, tolerance: float = 1e-3) -> float:
        """Compare batched rewards with those of the plain model, one unpadded response at a time.

        Run it at start with a pair of different length: a model that reads its padding, or whose pad token is wrong,
        gives rewards that depend on the neighbours in the batch.

        Returns:
            The largest difference, relative to 1 + |reward|; 0 for a function, which has no batches.

        Raises:
            ModelError: The difference is above `tolerance`, or a sample cannot be scored.
        """
        if isinstance(self._scorer, EnsembleScorer):
            pairs = zip(self._scorer.members, self._spec.members, strict=True)
            return max(self._parity(member, source, prompts, responses, tolerance) for member, source in pairs)
        if isinstance(self._scorer, ModelScorer):
            return self._parity(self._scorer, self._spec.source, prompts, responses, tolerance)
        return 0.0

    def _parity(
        self, scorer: ModelScorer, source: str, prompts: Sequence[str], responses: Sequence[str], tolerance: float
    ) -> float:
        batched = scorer.score(prompts, responses).rewards
        alone = scorer.score_one_by_one(prompts, responses)
        difference = float(np.max(np.abs(batched - alone) / (1.0 + np.abs(alone))))
        if not difference <= tolerance:  # NaN is refused too
            raise ModelError(
                f"{self._spec.kind} {source!r} of property {self._spec.property!r} gives {batched.tolist()} "
                f"in a batch but {alone.tolist()} through plain transformers; "
                "check pad_token_id in its config.json against its tokenizer"
            )
        return difference

    def location(self) -> dict[str, str | int]:
        """Where this worker runs."""
        return location()


def _scorer(spec: RewardSpec) -> Scorer:
    if spec.kind == "function":
        return FunctionScorer(load_function(spec.source), name=spec.source)
    if spec.kind == "ensemble":
        assert spec.combination is not None
        return EnsembleScorer([_model_scorer(spec, source) for source in spec.members], spec.combination)
    return _model_scorer(spec, spec.source)


def _model_scorer(spec: RewardSpec, source: str) -> ModelScorer:
    device = resolve_device(spec.device)
    if spec.kind == "classifier":
        model, tokenizer = load_classifier(source, spec.label, device=device)
        label = spec.label
    else:
        model, tokenizer = load_reward_model(source, device=device)
        label = None
    _check_positions(model.config.get_text_config().to_dict().get("max_position_embeddings"), spec, source)
    return ModelScorer(
        _logits(model),
        partial(encode_all_for_scoring, tokenizer, max_tokens=spec.max_tokens),
        pad_token=_pad_token(model, tokenizer),
        label=label,
        micro_batch_tokens=spec.micro_batch_tokens,
    )


def _check_positions(max_positions: int | None, spec: RewardSpec, source: str) -> None:
    if max_positions is not None and spec.max_tokens > max_positions:
        raise ModelError(
            f"property {spec.property!r} scores up to max_tokens {spec.max_tokens}, but {spec.kind} {source!r} reads "
            f"{max_positions} at most; set its max_tokens to {max_positions} or less"
        )


def _logits(model: PreTrainedModel) -> Logits:
    def logits(ids: Tensor, mask: Tensor | None) -> Tensor:
        mask = None if mask is None else mask.to(model.device)
        result: Tensor = model(input_ids=ids.to(model.device), attention_mask=mask).logits
        return result

    return logits


def _pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """What pads a batch; None for a causal classifier without a pad token, which finds the end of a row by it."""
    configured: int | None = model.config.get_text_config().pad_token_id
    reads_last_token = tokenizer.cls_token_id is None
    return configured if configured is not None or reads_last_token else tokenizer.pad_token_id
