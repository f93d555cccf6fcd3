"""The headline numbers of a policy, flat, under the names that `summary.json` has everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def policy_entry(measurement: Mapping[str, Any]) -> dict[str, Any]:
    """Flat headline numbers, from `Measurement.as_json`; those of gold where gold exists."""
    entry: dict[str, Any] = {
        **_with_interval("kl", measurement["kl"]),
        "shortcut_rates": {name: rate["value"] for name, rate in measurement["shortcut_rates"].items()},
        "share_cut": measurement["share_cut"]["value"],
    }
    gold = measurement["gold"]
    if gold is None:
        return entry
    for name in ("gold_win_rate", "both_win_rate", "evaluator_1_win_rate", "both_good_rate", "both_good_gain"):
        entry |= _with_interval(name, gold[name])
    entry["gold_win_rates"] = {name: rate["value"] for name, rate in gold["gold_win_rates"].items()}
    if rated := gold.get("evaluator_1_win_rates"):  # absent in measurements stored before it was kept per property
        entry["evaluator_1_win_rates"] = {name: rate["value"] for name, rate in rated.items()}
    entry["good_rates"] = {name: rate["value"] for name, rate in gold["good_rates"].items()}
    entry["both_good_at"] = {name: rate["value"] for name, rate in gold["both_good_at"].items()}
    entry["both_good_gain_at"] = {name: rate["value"] for name, rate in gold["both_good_gain_at"].items()}
    entry["improvement"] = gold["improvement"]
    return entry


def _with_interval(name: str, estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {name: estimate["value"], f"{name}_ci": [estimate["low"], estimate["high"]]}
