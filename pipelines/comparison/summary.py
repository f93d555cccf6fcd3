"""The numbers of a comparison as `summary.json` holds them, and the table that the terminal shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.tables import text_table
from pipelines.comparison.arms import ArmRun
from pipelines.evaluation.entry import policy_entry
from pipelines.evaluation.measure import Measurement

Entry = dict[str, Any]


def sft_entry(measurement: Measurement) -> Entry:
    """The SFT policy's numbers; its win rate is that of its own disjoint halves, near one half; no gain."""
    return {name: value for name, value in _entry(measurement).items() if not name.startswith("both_good_gain")}


def arm_entry(run: ArmRun, measurement: Measurement) -> Entry:
    """One arm's numbers on the test prompts, and its score on validation prompts, which alone may choose."""
    return {
        "name": run.arm.name,
        "objective": run.arm.objective,
        "gamma": run.arm.config.kl.coefficient,
        "folder": str(run.arm.config.folder),
        "seconds": run.summary["seconds"],
        "validation_both_good_rate": run.summary["validation"]["both_good"],
        **_entry(measurement),
    }


def chosen_arm(summaries: Sequence[Mapping[str, Any]]) -> int:
    """Index of the arm with the highest both-good rate on validation prompts; the first of equals."""
    rates = [summary["validation"]["both_good"] for summary in summaries]
    return rates.index(max(rates))


def _entry(measurement: Measurement) -> Entry:
    numbers = measurement.as_json()
    return {**policy_entry(numbers), "measurement": numbers}


def final_table(summary: Mapping[str, Any]) -> str:
    """SFT and every arm, one line each, as plain text."""
    header = ("", "gamma", "KL", "gold win rate [95 %]", "both good", "gain [95 %]", "lists", "consult")
    rows = [_row("SFT", summary["sft"])]
    for index, arm in enumerate(summary["arms"]):
        rows.append(_row(arm["objective"] + (" *" if index == summary["chosen_arm"] else ""), arm))
    ending = ["", "* chosen on validation prompts", f"report: {summary['report']}"]
    return "\n".join(["", *text_table(header, rows), *ending])


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
