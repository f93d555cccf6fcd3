"""The numbers of a comparison as `summary.json` holds them, and the table that the terminal shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.comparison import ArmRun
from pipelines.evaluation.estimates import Estimate
from pipelines.evaluation.measure import GoldMeasurement, Measurement

Entry = dict[str, Any]


def sft_entry(measurement: Measurement) -> Entry:
    """The SFT policy's numbers; its win rate is that of its own disjoint halves, near one half."""
    return _common(measurement)


def arm_entry(run: ArmRun, measurement: Measurement) -> Entry:
    """One arm's numbers on the test prompts, and its score on validation prompts, which alone may choose."""
    gold = _gold(measurement)
    return {
        "name": run.arm.name,
        "objective": run.arm.objective,
        "gamma": run.arm.config.kl.coefficient,
        "folder": str(run.arm.config.folder),
        "seconds": run.summary["seconds"],
        "validation_both_good_rate": run.summary["validation"]["both_good"],
        **_common(measurement),
        "both_good_gain": gold.both_good_gain.value,
        "both_good_gain_ci": _interval(gold.both_good_gain),
        "both_good_gain_at": {name: value.value for name, value in gold.both_good_gain_at.items()},
    }


def chosen_arm(summaries: Sequence[Mapping[str, Any]]) -> int:
    """Index of the arm with the highest both-good rate on validation prompts; the first of equals."""
    rates = [summary["validation"]["both_good"] for summary in summaries]
    return rates.index(max(rates))


def _common(measurement: Measurement) -> Entry:
    gold = _gold(measurement)
    return {
        "kl": measurement.kl.value,
        "kl_ci": _interval(measurement.kl),
        "gold_win_rate": gold.gold_win_rate.value,
        "gold_win_rate_ci": _interval(gold.gold_win_rate),
        "gold_win_rates": {name: rate.value for name, rate in gold.gold_win_rates.items()},
        "both_win_rate": gold.both_win_rate.value,
        "evaluator_1_win_rate": gold.evaluator_1_win_rate.value,
        "both_good_rate": gold.both_good_rate.value,
        "both_good_rate_ci": _interval(gold.both_good_rate),
        "good_rates": {name: rate.value for name, rate in gold.good_rates.items()},
        "both_good_at": {name: rate.value for name, rate in gold.both_good_at.items()},
        "shortcut_rates": {name: rate.value for name, rate in measurement.shortcut_rates.items()},
        "share_cut": measurement.share_cut.value,
        "measurement": measurement.as_json(),
    }


def _gold(measurement: Measurement) -> GoldMeasurement:
    assert measurement.gold is not None, "a comparison is measured by gold"
    return measurement.gold


def _interval(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.high]


def final_table(summary: Mapping[str, Any]) -> str:
    """SFT and every arm, one line each, as plain text."""
    header = ("", "gamma", "KL", "gold win rate [95 %]", "both good", "gain [95 %]", "lists", "consult")
    rows = [header, _row("SFT", summary["sft"])]
    for index, arm in enumerate(summary["arms"]):
        rows.append(_row(arm["objective"] + (" *" if index == summary["chosen_arm"] else ""), arm))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(["", *lines, "", "* chosen on validation prompts", f"report: {summary['report']}"])


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    shortcuts = entry["shortcut_rates"]
    low, high = entry["gold_win_rate_ci"]
    gain = (
        "" if "both_good_gain" not in entry else f"{entry['both_good_gain']:+.3f} " + _range(entry["both_good_gain_ci"])
    )
    return (
        name,
        f"{entry['gamma']:.3g}" if "gamma" in entry else "",
        f"{entry['kl']:.2f}",
        f"{entry['gold_win_rate']:.3f} [{low:.3f}, {high:.3f}]",
        f"{entry['both_good_rate']:.3f}",
        gain,
        f"{shortcuts['lists']:.2f}",
        f"{shortcuts['consult']:.2f}",
    )


def _range(interval: Sequence[float]) -> str:
    return f"[{interval[0]:+.3f}, {interval[1]:+.3f}]"
