"""What every section of the page begins with, and the metrics that several of them read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.paper.stored import Metric


def section(title: str, claim: str, results: Sequence[object], *, asks: str | None = None) -> list[str]:
    """Title, claim and question of a section, as lines; says so where there are no results."""
    lines = [f"## {title}", "", f"*As we understand the paper:* {claim}", ""]
    lines += [f"*We ask:* {asks}", ""] if asks else []
    return lines if results else [*lines, "Not run yet."]


def both_good(entry: Mapping[str, Any]) -> float:
    """The share of responses of a policy that are good in every property, by gold."""
    return float(entry["both_good_rate"])


def shortcut_rate(name: str) -> Metric:
    """The share of responses with a shortcut."""
    return lambda entry: float(entry["shortcut_rates"][name])
