"""Before anybody is answered: are rewards what they were in the run?

An exported folder holds texts with the rewards that they had there. Another template, tokenizer or library gives other
rewards, and then the service does not start. Without such texts a few built-in ones must at least not look as if a
sigmoid or softmax had been applied already, which would make every answer alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from allgood.errors import ModelError
from allgood.guards import refuse_squashed_rewards
from allgood.scorers.known_rewards import KnownRewards
from allgood.scorers.parity import largest_difference
from allgood.scorers.probes import probe_texts
from allgood.scorers.rewards_spec import RewardsSpec
from pipelines.serve.objective import AsyncScorer

TOLERANCE = 0.05
"""Largest difference from the run's rewards in units of their spread. Half precision on another device rounds to some
hundredths; another template or a sigmoid changes whole spreads."""

_SMALLEST_RANGE = 0.1
"""Rewards of texts so different that lie closer together are those of a model that has learned nothing: no verdict."""


async def check_parity(spec: RewardsSpec, scorers: Mapping[str, AsyncScorer], known: KnownRewards | None) -> None:
    """Score known texts with every scorer of an objective.

    Raises:
        ModelError: Rewards are not those of the run, or look squashed; names the property and what to do.
    """
    for name, setting in spec.properties.items():
        if known is not None and name in known.rewards:
            await _compare(name, scorers[name], known)
        else:
            await _look(name, scorers[name], setting.transform)


async def _compare(name: str, scorer: AsyncScorer, known: KnownRewards) -> None:
    found = (await scorer.score_async(known.prompts, known.responses)).rewards
    expected = known.rewards[name]
    difference = largest_difference(found, expected)
    if not difference <= TOLERANCE:  # NaN is refused too
        raise ModelError(
            f"property {name!r}: the model gives {found[:4].tolist()} for texts that had {expected[:4].tolist()} in "
            "the run; a sigmoid, another template or tokenizer, or another version of a library changes rewards: take "
            "the versions of the run, or export the rewards again"
        )


async def _look(name: str, scorer: AsyncScorer, transform: str) -> None:
    found = (await scorer.score_async(*probe_texts())).rewards
    known = found[np.isfinite(found)]
    if not len(known) or np.ptp(known) < _SMALLEST_RANGE:
        return
    try:
        refuse_squashed_rewards(torch.from_numpy(found), transform=transform)
    except ValueError as error:
        raise ModelError(f"property {name!r}: {error}") from error
