"""Whether a model gives a response the same reward in a batch and alone.

A model that reads its padding, or whose pad token is wrong, gives rewards that depend on the neighbours in the batch.
Run it once, with responses of different length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allgood.errors import ModelError
from allgood.scorers.ensemble import EnsembleScorer
from allgood.scorers.model_scorer import ModelScorer
from allgood.scorers.scorer import Scorer

_SMALLEST_SPREAD = 1e-2  # relative; float32 shows 1e-5 of a reward as noise, and 1e-3 of the spread is refused


def score_parity(scorer: Scorer, prompts: Sequence[str], responses: Sequence[str], *, tolerance: float = 1e-3) -> float:
    """Compare batched rewards with those of the plain model, one unpadded response at a time.

    Returns:
        The largest difference, as `largest_difference` measures it; 0 for a function, which has no batches.

    Raises:
        ModelError: The difference is above `tolerance`, or a sample cannot be scored.
    """
    match scorer:
        case EnsembleScorer():
            return max(_parity(member, prompts, responses, tolerance) for member in scorer.members)
        case ModelScorer():
            return _parity(scorer, prompts, responses, tolerance)
        case _:
            return 0.0


def _parity(scorer: ModelScorer, prompts: Sequence[str], responses: Sequence[str], tolerance: float) -> float:
    batched = scorer.score(prompts, responses).rewards
    alone = scorer.score_one_by_one(prompts, responses)
    difference = largest_difference(batched, alone)
    if not difference <= tolerance:  # NaN is refused too
        raise ModelError(
            f"{scorer.name} gives {batched.tolist()} in a batch but {alone.tolist()} through plain transformers; "
            "check pad_token_id in its config.json against its tokenizer"
        )
    return difference


def largest_difference(batched: NDArray[np.floating], alone: NDArray[np.floating]) -> float:
    """How far rewards in a batch are from those of each response alone, both [responses], in units of their spread.

    A model that was hardly trained gives all responses almost the same reward. What its padding does is small too, but
    not against the differences between responses; and it grows with them. NaN where a reward is missing.
    """
    scale = np.minimum(1.0 + np.abs(alone), np.maximum(alone.std(), _SMALLEST_SPREAD * (1.0 + np.abs(alone))))
    return float(np.max(np.abs(batched - alone) / scale))
