"""One replica of a scorer's deployment: the model, and the calls that share its passes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from allgood.scorers.loading import load_scorer
from allgood.scorers.parity import score_parity
from allgood.scorers.prompt_features import Features, load_features
from allgood.scorers.scorer import Scored
from allgood.scorers.spec import Reading, ScorerSpec
from pipelines.serve.gathering import Budget, Gatherer
from pipelines.serve.model_or_reason import ModelOrReason

_CHARACTERS_PER_TOKEN = 4  # of English text; only bounds what goes into one pass
_PAIR = (["\n\nHuman: What is tea?\n\nAssistant:"] * 2, ["A drink.", "A drink made of leaves, and older than coffee."])


@dataclass(frozen=True)
class ReplicaSpec:
    """What a replica is made of: the scorer, and the encoder of the property's predictor, if it names one."""

    scorer: ScorerSpec
    encoder: str | None = None
    threads: int = 1


class Replica:
    """Scores for one deployment."""

    def __init__(self, spec: ReplicaSpec) -> None:
        torch.set_num_threads(spec.threads)
        self._spec = spec
        self._features: Features | None = None
        self._gatherer = ModelOrReason(self._loaded)

    def _loaded(self) -> Gatherer:
        scorer = load_scorer(self._spec.scorer)
        score_parity(scorer, *_PAIR)
        reading = self._spec.scorer if isinstance(self._spec.scorer, Reading) else Reading()
        budget = Budget(characters=_CHARACTERS_PER_TOKEN * reading.micro_batch_tokens)

        async def score(prompts: Sequence[str], responses: Sequence[str]) -> Scored:
            return await asyncio.to_thread(scorer.score, prompts, responses)

        return Gatherer(score, budget)

    async def ready(self) -> None:
        """Answer when the model is there.

        Raises:
            AllgoodError: Why it cannot be loaded, or that it gives other rewards in a batch than alone.
        """
        self._gatherer.check()

    async def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """Rewards of rows, gathered with those of other calls.

        Raises:
            RoleError: The scorer failed as a whole.
            ModellessError: This replica has no model; another may have.
        """
        return await self._gatherer.asked().score(prompts, responses)

    async def prompt_features(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """What the property's predictor reads of prompts, [prompts, features].

        Raises:
            ModelError: There is no such encoder, or nothing of a prompt fits.
        """
        return await asyncio.to_thread(self._features_of, prompts)

    def _features_of(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        if self._features is None:
            self._features = load_features(self._spec.scorer, self._spec.encoder)
        return self._features(prompts)

    async def check_health(self) -> None:
        """See `ModelOrReason.check_health`."""
        self._gatherer.check_health()
