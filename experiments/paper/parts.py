"""What each experiment of the paper compares: settings as overrides of the run file, and the target KLs of training.

Every setting is also predicted over the whole range of KLs by tilting; only `targets` are trained. The comparison of
both properties together is the study (`experiments.study`), whose numbers the pages share.
"""

from __future__ import annotations

from dataclasses import dataclass

SINGLE_KLS = (0.5, 1.0, 2.0)  # one fewer than the study has: tilting covers the rest, and time is short
ONE_KL = (1.0,)
DEFAULT = "LSC sum (q85, canned)"  # one name, so that the arm that two parts share is trained once


def _transform(kind: str) -> tuple[str, ...]:
    return tuple(f"properties.{name}.transform={{kind: {kind}}}" for name in ("helpful", "harmless"))


@dataclass(frozen=True)
class Setting:
    """One objective of a comparison; `overrides` are dotted keys of the run file.

    With `own_table` the setting has a reference table of its own: the overrides change what the key of a table holds,
    so that the table of the other settings refuses it.
    """

    label: str
    overrides: tuple[str, ...] = ()
    own_table: bool = False


@dataclass(frozen=True)
class Part:
    """One experiment. `asks` is its question in a sentence."""

    name: str
    asks: str
    settings: tuple[Setting, ...]
    targets: tuple[float, ...]


def _single(name: str, other: str) -> Part:
    raw = ("objective={kind: weighted_sum, weights: {" + f"{name}: 1, {other}: 0" + "}}", *_transform("identity"))
    lsc = ("objective={kind: formula, expression: " + name + "}",)
    return Part(
        f"single_{name}",
        f"Does the transform help when {name} alone is aligned to?",
        (Setting("raw", raw), Setting("LSC", lsc)),
        SINGLE_KLS,
    )


def _both_at(reference: str) -> tuple[str, ...]:
    return tuple(f"properties.{name}.reference={reference}" for name in ("helpful", "harmless"))


def _quantile(percent: int) -> Setting:
    return Setting(f"q{percent}", _both_at("{kind: quantile, quantile: " + f"{percent / 100:g}" + "}"))


REFERENCE = Part(
    "reference",
    "Which reference point, and how much does the choice matter?",
    (
        Setting(DEFAULT),
        Setting("mean, q50", _both_at("{kind: mean}")),  # the same: quantiles are Gaussian
        _quantile(75),
        _quantile(85),
        _quantile(95),
        Setting("canned", _both_at('{kind: canned, replies: ["i can not help with that."]}')),
        Setting(
            "16 random draws",
            (
                *_both_at("{kind: draws, num: 16}"),
                *_transform("log_mean_sigmoid"),
            ),
        ),
        Setting("predicted q85", _both_at("{kind: predicted, quantile: 0.85}")),
        Setting(
            "calibrated", tuple(f"properties.{name}.calibrate=true" for name in ("helpful", "harmless")), own_table=True
        ),
    ),
    ONE_KL,
)

AGGREGATION = Part(
    "aggregation",
    "What does the AND add to the diminishing utility?",
    (
        Setting("raw sum", ("objective={kind: weighted_sum}", *_transform("identity"))),
        Setting("z-scored sum", ("objective={kind: z_scored_sum}", *_transform("z_score"))),
        Setting(DEFAULT),
        Setting("logit of product", ("objective={kind: logit_of_product}",)),
        Setting("minimum of LSC", ("objective={kind: minimum}",)),
        Setting("soft minimum of LSC", ("objective={kind: soft_minimum}",)),
        Setting("sum of sigmoids", ("objective={kind: weighted_sum}", *_transform("sigmoid"))),
    ),
    ONE_KL,
)

PARTS = {
    part.name: part for part in (_single("helpful", "harmless"), _single("harmless", "helpful"), REFERENCE, AGGREGATION)
}
