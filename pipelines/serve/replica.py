"""One replica of a scorer's deployment: the model, and the calls that share its passes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from allgood.errors import AllgoodError
from allgood.scorers.loading import load_scorer
from allgood.scorers.parity import score_parity
from allgood.scorers.prompt_features import Features, load_features
from allgood.scorers.scorer import Scored
from allgood.scorers.spec import Reading, ScorerSpec
from pipelines.serve.gathering import Gatherer

_CHARACTERS_PER_TOKEN = 4  # of English text; only bounds what goes into one pass
_PAIR = (["\n\nHuman: What is tea?\n\nAssistant:"] * 2, ["A drink.", "A drink made of leaves, and older than coffee."])


@dataclass(frozen=True)
class ReplicaSpec:
    """What a replica is made of: the scorer, and the encoder of the property's predictor, if it names one."""

    scorer: ScorerSpec
    encoder: str | None = None
    threads: int = 1


class ModellessError(Exception):
    """A replica that started later than the others could not load its model."""


class Replica:
    """Scores for one deployment. A model that cannot be loaded is said to whoever asks, in one sentence.

    An exception in here would make Ray Serve try the constructor again and again, and hide the sentence in a traceback.
    """

    def __init__(self, spec: ReplicaSpec) -> None:
        torch.set_num_threads(spec.threads)
        self._spec = spec
        self._features: Features | None = None
        self._failure: AllgoodError | None = None
        self._was_asked = False
        try:
            scorer = load_scorer(spec.scorer)
            score_parity(scorer, *_PAIR)
        except AllgoodError as error:
            self._failure = error
            return
        reading = spec.scorer if isinstance(spec.scorer, Reading) else Reading()
        self._gatherer = Gatherer(scorer.score, max_characters=_CHARACTERS_PER_TOKEN * reading.micro_batch_tokens)

    async def ready(self) -> None:
        """Answer when the model is there.

        Raises:
            AllgoodError: Why it cannot be loaded, or that it gives other rewards in a batch than alone.
        """
        if self._failure is not None:
            raise self._failure

    async def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """Rewards of rows, gathered with those of other calls.

        Raises:
            RoleError: The scorer failed as a whole.
            ModellessError: This replica has no model; another may have.
        """
        self._was_asked = True
        if self._failure is not None:
            raise ModellessError(str(self._failure))
        return await self._gatherer.score(prompts, responses)

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
        """For Ray Serve: a replica without its model is replaced, since files may come back. Not before it is asked to
        score: at the start `ready` says what is wrong, and the service does not begin.

        Raises:
            ModellessError: It has none.
        """
        if self._failure is not None and self._was_asked:
            raise ModellessError(str(self._failure))
