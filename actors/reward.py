"""The reward worker: one property's scorer, and what a run makes of its rewards.

The model is loaded once; a `Treatment` (references and transform) is set per run. Several treatments live side by side
under their keys, so that arms of a comparison and trials of a sweep share one worker.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from actors.faults import LostTreatmentError
from actors.location import location
from actors.messages import FloatRow, Rollout, Scores
from actors.scoring import score_what_can_be
from actors.sources import Find, as_named, found_scorer
from allgood.errors import naming
from allgood.scorers.loading import load_scorer
from allgood.scorers.parity import score_parity
from allgood.scorers.scorer import Scored
from allgood.scorers.spec import ScorerSpec
from allgood.treatment import Treatment, require_references, transform_of, treat

if TYPE_CHECKING:
    from allgood.scorers.prompt_features import PromptFeatures


@dataclass(frozen=True)
class RewardSpec:
    """What a reward actor is made of: the property that it judges, by which scorer."""

    property: str
    scorer: ScorerSpec
    threads: int = 1


class RewardWorker:
    """Scores responses for one property."""

    def __init__(self, spec: RewardSpec, find: Find = as_named) -> None:
        torch.set_num_threads(spec.threads)
        self._find = find
        with naming(f"property {spec.property!r}"):
            self._spec = replace(spec, scorer=found_scorer(spec.scorer, find))
            self._scorer = load_scorer(self._spec.scorer)
        self._treatments: dict[str, Treatment] = {}
        self._features: dict[str | None, PromptFeatures] = {}

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
        """Reward, reference, margin and utility of every row; NaN in all four where scoring failed, also after retries.

        Raises:
            LostTreatmentError: No treatment has this key: none was set, or this process is a new one.
            ReferenceTableError: A prompt of the rollout has no reference.
        """
        if key not in self._treatments:
            raise LostTreatmentError(
                f"lost treatment: reward worker {self._spec.property!r} has no treatment {key!r}; set it before scoring"
            )
        started = time.perf_counter()
        chunk = rollout.chunk
        require_references(self._treatments[key], chunk.prompt_ids, self._spec.property)
        prompts = [prompt for prompt in chunk.prompts for _ in range(chunk.samples_per_prompt)]
        attempt = score_what_can_be(self._scorer, prompts, rollout.responses)
        scored = attempt.scored
        grid = scored.rewards.reshape(len(chunk.prompts), chunk.samples_per_prompt)
        view = treat(self._treatments[key], grid, chunk.prompt_ids, property_name=self._spec.property)
        return Scores(
            property=self._spec.property,
            view=view.flat(),
            num_prompts_cut=scored.num_prompts_cut,
            seconds=time.perf_counter() - started,
            reasons=dict(scored.reasons),
            num_given_up=attempt.num_given_up,
            retries=attempt.retries,
        )

    def score_texts(self, prompts: Sequence[str], responses: Sequence[str]) -> FloatRow:
        """Raw rewards, [responses] float32; NaN = failed.

        Raises:
            ScoringError: The scorer's function raised, or gave another number of rewards.
        """
        return self.scored(prompts, responses).rewards

    def scored(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """Raw rewards, with the reasons why some are missing; errors as above."""
        return self._scorer.score(prompts, responses)

    def prompt_features(self, prompts: Sequence[str], encoder: str | None = None) -> NDArray[np.float32]:
        """Mean of last hidden states over each prompt's tokens, [prompts, features]: of `encoder`, or of the scorer.

        Raises:
            ModelError: There is no such encoder, or none is named and the scorer is not one model with hidden states.
        """
        # An actor that scores by a function starts in less than half of the time without transformers.
        from allgood.scorers.prompt_features import load_features

        if encoder not in self._features:
            with naming(f"property {self._spec.property!r}"):
                self._features[encoder] = load_features(
                    self._spec.scorer, None if encoder is None else self._find(encoder)
                )
        return self._features[encoder](prompts)

    def score_parity(self, prompts: Sequence[str], responses: Sequence[str], *, tolerance: float = 1e-3) -> float:
        """Compare batched rewards with those of the plain model, one unpadded response at a time.

        Run it at start with a pair of different length; see `allgood.scorers.parity`.

        Raises:
            ModelError: The difference is above `tolerance`, or a sample cannot be scored.
        """
        with naming(f"property {self._spec.property!r}"):
            return score_parity(self._scorer, prompts, responses, tolerance=tolerance)

    def location(self) -> dict[str, str | int]:
        """Where this worker runs."""
        return location()
