"""What the study runs: points, seeds, arms with their target KLs in order of importance, and the rules of its analysis.

Fixed before any arm is trained: `preregistration.json` holds a copy of all of it, and training refuses another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

Point = Literal["strong", "weak"]
POINTS: tuple[Point, ...] = ("strong", "weak")
NUM_SEEDS = 5

LSC, RAW, TUNED, CAPPED = "lsc_sum", "raw_sum", "raw_sum_tuned", "raw_sum_capped"
Z_SCORE, LOGIT, PAR = "prompt_z_score", "logit_of_product", "par_sum"
LABELS: Mapping[str, str] = {
    LSC: "LSC sum",
    RAW: "raw sum",
    TUNED: "raw sum, tuned weights",
    CAPPED: "raw sum, capped",
    Z_SCORE: "per-prompt z-score",
    LOGIT: "logit of product",
    PAR: "PAR sum",
}
RIVALS = (RAW, TUNED, CAPPED)
"""Raw sums, of which the primary contrast takes the best by tilting on validation prompts, per seed and target."""
OTHERS = tuple(name for name in LABELS if name not in (LSC, RAW))
"""Of which `weak` trains the best: chosen per seed on validation prompts by tilting, over both targets."""

PRIMARY_KLS = (2.0, 4.0)
MAIN_KLS = (1.0, *PRIMARY_KLS)
WIDE_KLS = (0.5, *MAIN_KLS, 8.0)  # of raw and LSC sum, 8 where samples support it
SOLVED_SHARES = {0.5: 1.1, 1.0: 1.15, 2.0: 1.25, 4.0: 1.4, 8.0: 1.0}
"""Gamma is solved for this multiple of the target: few samples read KL too low and trainings end below the optimum, and
the measured KL should pass the target. Where the samples cannot show that much, it is solved for the target itself."""
STEPS = {0.5: 200, 1.0: 200, 2.0: 200, 4.0: 300, 8.0: 300}

NEAREST_SHARE = 0.75
"""Two curves are compared at the target, or where the shorter ends if that is at least this share of the target."""

RULES: Mapping[str, str] = {
    "primary contrast": "all-good rate of the LSC sum minus that of the best raw sum (equal weights, tuned weights, or "
    "capped: the best on validation prompts by tilting, per seed and target) at 2 and at 4 nats, point strong",
    "matched KL": "every seed's curve over its measured KL, start policy included, is interpolated at the target, "
    f"never extrapolated; where the shorter curve ends below, both are compared at its end if that is at least "
    f"{NEAREST_SHARE:.0%} of the target, else the seed is left out and counted",
    "intervals": "95 % t-intervals over seeds of differences paired by seed, with the smallest difference that the "
    "study would have found with power 0.8; with one seed, and beside each seed, 95 % bootstrap over test prompts",
    "many comparisons": "Holm over the two primary contrasts; Holm over all other differences of all-good rates to the "
    "LSC sum; everything else is descriptive",
    "convergence": "a run is flat if KL and gain in utility on validation prompts change by at most 5 % over the last "
    "quarter of its steps; all runs enter, flat or not, and the page says which are not; the primary contrast is also "
    "given from flat runs alone",
    "exclusions": "an arm whose target the samples cannot show at all is not trained; an arm whose training fails is "
    "run again with the same seed; no other run is left out, and none is repeated with other settings",
    "surprise": "where a difference of 0.05 or more is predicted and the interval of the outcome holds 0, the page "
    "says why: support of the samples, convergence, reward models, or the world",
}


@dataclass(frozen=True)
class PlannedArm:
    """One training: an objective at a target KL, in nats."""

    objective: str
    target_kl: float

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.objective}_kl{self.target_kl:g}"


def planned_arms(point: Point, *, best_other: str) -> list[PlannedArm]:
    """The arms of a point, those of the primary contrast first. `best_other` is what `weak` trains too."""
    if point == "weak":
        return [PlannedArm(name, kl) for kl, name in product(PRIMARY_KLS[::-1], (LSC, RAW, best_other))]
    return list(dict.fromkeys(_strong()))


def _strong() -> Iterator[PlannedArm]:
    for kl, name in product(PRIMARY_KLS[::-1], (LSC, RAW, CAPPED)):
        yield PlannedArm(name, kl)
    for kl, name in product(MAIN_KLS[::-1], LABELS):
        yield PlannedArm(name, kl)
    for kl, name in product(WIDE_KLS, (LSC, RAW)):
        yield PlannedArm(name, kl)


def predicted_arms() -> list[PlannedArm]:
    """All that are predicted at either point, trained or not."""
    wide = [PlannedArm(name, kl) for name, kl in product((LSC, RAW), WIDE_KLS)]
    return wide + [PlannedArm(name, kl) for name, kl in product(OTHERS, MAIN_KLS)]


def design() -> dict[str, Any]:
    """Everything that the preregistration fixes, but the worlds and the predictions."""
    return {
        "seeds": NUM_SEEDS,
        "objectives": dict(LABELS),
        "arms": {
            point: [[arm.objective, arm.target_kl] for arm in planned_arms(point, best_other="best_other")]
            for point in POINTS
        },
        "solved_shares": {f"{kl:g}": share for kl, share in SOLVED_SHARES.items()},
        "steps": {f"{kl:g}": steps for kl, steps in STEPS.items()},
        "nearest_share": NEAREST_SHARE,
        "rules": dict(RULES),
    }
