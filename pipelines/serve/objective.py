"""An objective whose scorers live in Ray Serve: rows in, what every property and the objective say out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.all_good_scores import AllGoodScores
from allgood.scorers.policy_texts import Text
from allgood.scorers.read_rows import NOTHING
from allgood.scorers.rewards_spec import RewardsSpec
from allgood.scorers.scorer import Scored
from pipelines.serve.fresh import FreshReferences


class AsyncScorer(Protocol):
    """A scorer that the event loop can wait for, and threads too; `remote.RemoteScorer` is one."""

    async def score_async(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """As `scorer.Scorer.score`."""
        ...

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `scorer.Scorer.score`; for threads."""
        ...

    def features(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """See `prompt_features.Features`; for threads."""
        ...


class ServedObjective:
    """`AllGoodScorer.score` with scorers that work at the same time; the numbers are the same up to rounding.

    `fresh` gives references of prompts that nobody knows; absent: they have none.
    """

    def __init__(
        self, spec: RewardsSpec, scorers: Mapping[str, AsyncScorer], fresh: FreshReferences | None = None
    ) -> None:
        self.spec = spec
        self._scorers = scorers
        self._fresh = fresh
        features = {name: scorers[name].features for name in scorers}
        self._all_good = AllGoodScorer(spec, scorers=scorers, features=features)

    def load(self) -> None:
        """Read tables, heads and the policy's tokenizer, which the first call would do otherwise.

        Raises:
            ModelError, ReferenceTableError: A file is missing or damaged.
        """
        self._all_good.read([], [])

    def parted(self, conversation: str) -> tuple[str, str]:
        """See `AllGoodScorer.parted`."""
        return self._all_good.parted(conversation)

    async def score(
        self, prompts: Sequence[Text], responses: Sequence[Text], *, was_cut: NDArray[np.bool_] | None = None
    ) -> AllGoodScores:
        """See `AllGoodScorer.score`, whose errors this raises.

        Raises:
            BusyError: Too many calls wait for a scorer, or too many prompts for samples.
        """
        # In a thread: a predictor or canned replies ask a scorer, and a template is slow for a prompt that is new.
        asked = await asyncio.to_thread(self._all_good.read, prompts, responses)
        if self._fresh is not None:
            asked = await self._fresh.completed(asked)
        texts = asked.rows.readable
        found = await asyncio.gather(
            *(scorer.score_async(*texts) for scorer in self._scorers.values()) if texts[0] else ()
        )
        scored = dict(zip(self._scorers, found, strict=True)) if found else dict.fromkeys(self._scorers, NOTHING)
        return self._all_good.judge(
            asked, {name: asked.rows.spread(part) for name, part in scored.items()}, was_cut=was_cut
        )
