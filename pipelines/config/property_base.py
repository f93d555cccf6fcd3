"""What every property has, and which transforms and references go together."""

from __future__ import annotations

from actors.cluster.placement import Resources
from pipelines.config.base import StrictModel
from pipelines.config.references import Reference
from pipelines.config.transforms import PromptZScoreTransform, Transform


class PropertyBase(StrictModel):
    """What every property has, whoever scores it."""

    placement: Resources = Resources()


def refuse_without_features(reference: Reference, why: str) -> None:
    """ValueError when r_ref is to be predicted from features of a scorer that has none; `why` says so."""
    if None in reference.encoders:
        raise ValueError(
            f"reference predicted stands on the features of one reward model, and {why}; name an `encoder` in it, or "
            "set reference to {kind: quantile}"
        )


def refuse_mismatch(transform: Transform, reference: Reference) -> None:
    """ValueError when a transform cannot work with a reference."""
    takes_draws = transform.facts.needs == "draws"
    if takes_draws and reference.num_draws is None:
        raise ValueError(
            f"transform {transform.kind} compares with random samples of the start policy, but reference is "
            f"{reference.kind}; set reference to {{kind: draws, num: 16}}"
        )
    if reference.num_draws is not None and reference.num_draws > 1 and not takes_draws:
        raise ValueError(
            f"transform {transform.kind} takes one r_ref per prompt, but reference draws gives {reference.num_draws}; "
            "set num: 1, or reference mean, or a transform that averages (mean_sigmoid, log_mean_sigmoid, calibrated, "
            "prompt_z_score)"
        )
    if isinstance(transform, PromptZScoreTransform) and reference.num_draws == 1:
        raise ValueError(
            f"transform {transform.kind} divides by the standard deviation of the draws, and reference draws gives 1; "
            "set its num to 16 or more"
        )
    if transform.facts.needs == "nothing" and reference.kind != "none":
        raise ValueError(
            f"transform {transform.kind} is a probability already and takes no reference, but reference is "
            f"{reference.kind}; set reference to {{kind: none}}"
        )
