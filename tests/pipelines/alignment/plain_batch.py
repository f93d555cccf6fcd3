"""A batch of one-token answers, for loops whose learner only counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.messages import Batch, Experience
from pipelines.alignment.loop import State


def plain_batch(experience: Sequence[Experience], state: State, *, policy_version: int) -> Batch:
    """The utilities of the property `good`, two answers per chunk, and the sampler's log-probs as everybody's."""
    rows = [row for chunk in experience for row in chunk.rollout.logprobs]
    return Batch(
        step=state.step,
        prompt_tokens=tuple(np.int32([1]) for _ in rows),
        response_tokens=tuple(np.int32([1]) for _ in rows),
        logprobs=tuple(rows),
        reference_logprobs=tuple(rows),
        utilities=np.concatenate([chunk.scores["good"].view.utilities for chunk in experience]),
        groups=np.repeat(np.arange(len(experience)), 2),
        kl_coefficient=state.kl_coefficient,
        policy_version=policy_version,
    )
