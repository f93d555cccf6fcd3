"""The numbers of a comparison as `summary.json` holds them, and the table that the terminal shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from actors.tables import text_table
from pipelines.comparison.arms import ArmRun
from pipelines.evaluation.entry import ArmSummary, Comparison, SftSummary, policy_entry
from pipelines.evaluation.measure import Measurement


def sft_entry(measurement: Measurement) -> SftSummary:
    """The start policy's numbers; its win rate is that of its own disjoint halves, near one half; no gain."""
    headlines = replace(policy_entry(measurement), both_good_gain=None, both_good_gain_ci=None, both_good_gain_at=None)
    return SftSummary(headlines=headlines, measurement=measurement)


def arm_entry(run: ArmRun, measurement: Measurement) -> ArmSummary:
    """One arm's numbers on the test prompts, and its score on validation prompts, which alone may choose."""
    return ArmSummary(
        name=run.arm.name,
        objective=run.arm.objective,
        gamma=run.arm.config.kl.coefficient,
        folder=str(run.arm.config.folder),
        seconds=run.summary["seconds"],
        validation_both_good_rate=run.summary["validation"]["both_good"],
        headlines=policy_entry(measurement),
        measurement=measurement,
    )


def chosen_arm(summaries: Sequence[Mapping[str, Any]]) -> int:
    """Index of the arm with the highest both-good rate on validation prompts; the first of equals."""
    rates = [summary["validation"]["both_good"] for summary in summaries]
    return rates.index(max(rates))


def final_table(summary: Comparison) -> str:
    """The start policy and every arm, one line each, as plain text."""
    header = ("", "gamma", "KL", "gold win rate [95 %]", "both good", "gain [95 %]", "lists", "consult")
    rows = [("start", "", *_cells(summary.sft.measurement, has_gain=False))]
    for index, arm in enumerate(summary.arms):
        name = arm.objective + (" *" if index == summary.chosen_arm else "")
        rows.append((name, f"{arm.gamma:.3g}", *_cells(arm.measurement)))
    ending = ["", "* chosen on validation prompts", f"report: {summary.report}"]
    return "\n".join(["", *text_table(header, rows), *ending])


def _cells(measurement: Measurement | None, *, has_gain: bool = True) -> tuple[str, ...]:
    assert measurement is not None
    assert measurement.gold is not None
    wins, gain = measurement.gold.gold_win_rate, measurement.gold.both_good_gain
    return (
        f"{measurement.kl.value:.2f}",
        f"{wins.value:.3f} [{wins.low:.3f}, {wins.high:.3f}]",
        f"{measurement.gold.both_good_rate.value:.3f}",
        f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" if has_gain else "",
        f"{measurement.shortcut_rates['lists'].value:.2f}",
        f"{measurement.shortcut_rates['consult'].value:.2f}",
    )
