"""Which weights the tuned raw sums got. Where both are 1, the arm is the raw sum itself, trained once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from allgood.errors import DataError
from pipelines.config.objectives import WeightedSumObjective
from pipelines.config.run import RunConfig

Result = Mapping[str, Any]
Arm = Mapping[str, Any]
TUNED = "raw_sum_tuned"


def stored_weights(config: RunConfig) -> dict[str, float]:
    """The weights of a weighted sum, as an arm's numbers hold them; none for other objectives, or where all are 1."""
    objective = config.objective
    weights = objective.weights if isinstance(objective, WeightedSumObjective) else {}
    return weights if any(weight != 1.0 for weight in weights.values()) else {}


def distinct_arms(results: Sequence[Result]) -> list[Arm]:
    """All arms, without the tuned ones that are the raw sum's own run again.

    Raises:
        DataError: The numbers are those of an earlier version, which did not store weights.
    """
    arms = [arm for result in results for arm in result["arms"]]
    return [arm for arm in arms if arm["objective"] != TUNED or _weights(arm)]


def _weights(arm: Arm) -> Mapping[str, float]:
    if "weights" not in arm:
        raise DataError(
            f"the stored numbers of {arm['name']} say nothing of its weights: an earlier version stored them; delete "
            "the files of the study and run it again"
        )
    weights: Mapping[str, float] = arm["weights"]
    return weights


def weights_in_words(results: Sequence[Result]) -> str:
    """The ratio of the tuned weights per target KL and seed, in order of seed; empty where nothing was tuned."""
    by_target: dict[float, list[str]] = {}
    names: Sequence[str] = ()
    for result in sorted(results, key=lambda result: int(result["seed"])):
        for arm in result["arms"]:
            if arm["objective"] == TUNED:
                weights = _weights(arm)
                names = tuple(weights) or names
                first, second = weights.values() or (1.0, 1.0)
                by_target.setdefault(float(arm["target_kl"]), []).append(f"{first / second:.2g}")
    if not by_target:
        return ""
    ratios = "; ".join(f"KL {target:g}: {', '.join(found)}" for target, found in sorted(by_target.items()))
    return (
        f"Tuned weights, {' over '.join(names) or 'first over second property'}, seed by seed: {ratios}. Where they "
        "are 1, the tuned arm is the raw sum's own, and is counted once below."
    )
