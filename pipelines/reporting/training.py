"""The section about training: what every step logged, per property and for the policy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.reporting.content import Content, Policy
from pipelines.reporting.html import Picture, Section, paragraph
from pipelines.reporting.plots import Panel, Series, curves

VIEWS = {
    "reward": "raw reward r",
    "reference": "reference r_ref",
    "margin": "margin r − r_ref",
    "utility": "utility u",
}
UNITS = {"reward": "logits", "reference": "logits", "margin": "logits", "utility": "nats"}
POLICY = {
    "utility.mean": ("combined utility", "nats"),
    "kl_k1_sum": ("KL to π0", "nats per response"),
    "entropy": ("entropy", "nats per token"),
    "response_tokens.mean": ("response length", "tokens"),
    "share_cut": ("cut at the length limit", "share of responses"),
    "learner.gradient_norm": ("gradient norm", "before clipping"),
    "num_dropped_samples": ("dropped samples", "per step"),
    "tokens_per_second": ("speed", "tokens per second"),
}
VALIDATION = {
    "validation.both_good": ("both good on validation", "share of responses"),
    "validation.utility.mean": ("utility on validation", "nats"),
    "validation.kl_k1_mean": ("KL on validation", "nats per response"),
}


def training_curves(content: Content) -> Section:
    """Small plots over steps; several policies share each."""
    title = "Training"
    trained = [policy for policy in content.policies if policy.metrics]
    if not trained:
        return Section(title, [paragraph("No metrics.jsonl was found, so there are no curves.")])
    names = list(content.config.properties)
    rewards = [
        Panel(f"{name}: {label}", UNITS[view], _series(trained, f"{view}.{name}.mean"))
        for name in names
        for view, label in VIEWS.items()
    ]
    policy = [Panel(label, unit, _series(trained, key)) for key, (label, unit) in (POLICY | VALIDATION).items()]
    pictures = [
        _picture(
            "training_rewards",
            rewards,
            "Means over each step's samples: raw reward, reference, margin, utility. The utilities of different "
            "objectives have different scales; where references are equal, their lines cover each other.",
        ),
        _picture("training_policy", policy, "The policy while it was trained, and its validations."),
    ]
    return Section(title, [picture for picture in pictures if picture is not None])


def _picture(name: str, panels: Sequence[Panel], caption: str) -> Picture | None:
    drawn = [panel for panel in panels if max((len(series.x) for series in panel.series), default=0) > 1]
    if not drawn:
        return None
    alt = f"curves over steps: {', '.join(panel.title for panel in drawn)}"
    return Picture(name, curves(drawn, x_label="step"), alt=alt, caption=caption)


def _series(policies: Sequence[Policy], key: str) -> list[Series]:
    found = []
    for policy in policies:
        points = [(row["step"], row[key]) for row in policy.metrics if _is_number(row, key)]
        if points:
            found.append(Series(policy.name, [x for x, _ in points], [y for _, y in points]))
    return found


def _is_number(row: Mapping[str, Any], key: str) -> bool:
    value = row.get(key)
    return isinstance(value, int | float) and math.isfinite(value)
