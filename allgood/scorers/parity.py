"""Whether a model gives a response the same reward in a batch and alone.

A model that reads its padding, or whose pad token is wrong, gives rewards that depend on the neighbours in the batch.
Run it once, with responses of different length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allgood.errors import ModelError
from allgood.scorers.ensemble import EnsembleScorer
from allgood.scorers.model_scorer import ModelScorer
from allgood.scorers.scorer import Scorer


def score_parity(scorer: Scorer, prompts: Sequence[str], responses: Sequence[str], *, tolerance: float = 1e-3) -> float:
    """Compare batched rewards with those of the plain model, one unpadded response at a time.

    Returns:
        The largest difference, relative to 1 + |reward|; 0 for a function, which has no batches.

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
    difference = float(np.max(np.abs(batched - alone) / (1.0 + np.abs(alone))))
    if not difference <= tolerance:  # NaN is refused too
        raise ModelError(
            f"{scorer.name} gives {batched.tolist()} in a batch but {alone.tolist()} through plain transformers; "
            "check pad_token_id in its config.json against its tokenizer"
        )
    return difference
