"""GDPO's rule: each property's return is normalised within its prompt, and only then are the properties added.

The KL is inside what is divided: property i of m has the return R_i = r_i - gamma / m * sum_t k1_t, so that the returns
add up to the raw sum's. The batch therefore carries normalised returns as utilities, and no KL for the learner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from actors.learning.sequence_kl import sequence_k1
from actors.messages import Experience, FloatRow
from allgood.aggregation import normalise_then_sum
from allgood.all_good import AllGood
from allgood.guards import kept_rows
from pipelines.alignment.batch import assemble
from pipelines.alignment.loop import Assembled, State
from pipelines.cast.experience import groups_of, judged


def assemble_normalised(
    experience: Sequence[Experience], state: State, *, all_good: AllGood, max_nan_share: float
) -> Assembled:
    """The batch of a step with normalised returns; metrics stay those of the raw sum.

    Raises:
        TrainingError: As in `assemble`.
    """
    assembled = assemble(experience, state, all_good=all_good, max_nan_share=max_nan_share)
    batch, found = assembled.batch, judged(experience, all_good)
    kept = kept_rows(found.utilities, groups_of(experience))
    kl = sequence_k1(batch.logprobs, batch.reference_logprobs)
    names = all_good.objective.names
    share = state.kl_coefficient / len(names)
    returns = {name: found.properties[name].margins[kept].astype(np.float64) - share * kl for name in names}
    normalised = _normalised(returns, batch.groups)
    return replace(assembled, batch=replace(batch, utilities=normalised, kl_coefficient=0.0))


def _normalised(returns: dict[str, NDArray[np.float64]], groups: NDArray[np.int64]) -> FloatRow:
    """Sum over properties of (R - group mean) / group std, [rows]."""
    total = np.zeros(len(groups))
    for group in np.unique(groups):
        rows = groups == group
        members = {name: torch.from_numpy(values[rows])[None, :] for name, values in returns.items()}
        total[rows] = normalise_then_sum(members)[0].numpy()
    return total.astype(np.float32)
