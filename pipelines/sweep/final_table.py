"""What the terminal shows at the end of a sweep: the front, the recommended setting, and where its policy lies.

Where nobody judges: training rewards and KL, and which choices are impossible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actors.tables import BARS, text_table
from pipelines.run.folder import RunFolder
from pipelines.sweep.results import why_none
from pipelines.sweep.unjudged import UNJUDGED, reward_table

_HEADER = ("front", "seeds", "KL, validation", "win rate, validation", "KL, test", "win rate, test [95 %]")


def final_table(summary: Mapping[str, Any]) -> str:
    """Plain text."""
    return "\n".join(_lines(summary))


def _lines(summary: Mapping[str, Any]) -> Iterator[str]:
    counted = ", ".join(f"{number} {status}" for status, number in summary["trials"].items())
    yield f"\ntrials: {counted or 'none'}"
    for name, reason in summary["failed"].items():
        yield f"  {name} failed: {reason}"
    is_judged = summary["judge"] != "nobody"
    if not is_judged:
        header, rows = reward_table(summary)
        yield "on test prompts:"
        yield from text_table(header, rows, between=BARS)
    elif summary["front"]:
        yield from text_table(_HEADER, [_row(setting) for setting in summary["front"]], between=BARS)
    for setting in summary["left_out"]:
        if setting["finished"]:
            seeds = f"{setting['finished']} of {setting['planned']} seeds"
            yield f"  {setting['setting']} is left out, with {seeds}: {setting['why']}"
    yield from _recommendation(summary) if is_judged else [f"{UNJUDGED}."]
    yield f"report: {summary['report']}"


def _recommendation(summary: Mapping[str, Any]) -> Iterator[str]:
    budget = "" if summary["kl_budget"] is None else f" for at most {summary['kl_budget']:g} nats"
    chosen = summary["recommended"]
    if chosen is None:
        yield f"none is recommended: {why_none(summary)}"
    else:
        yield f"recommended{budget}: {chosen['setting']}"
        yield f"  its policy: {RunFolder(Path(chosen['trials'][0])).model}"
        yield f"  train it again: {chosen['command']}"


def _row(setting: Mapping[str, Any]) -> tuple[str, ...]:
    validation, test = setting["validation"], setting["test"]
    rate = test["win_rate"]
    ends = "" if rate["low"] is None else f" [{rate['low']:.3f}, {rate['high']:.3f}]"
    return (
        setting["setting"],
        str(setting["seeds"]),
        f"{validation['kl']['value']:.2f}",
        f"{validation['win_rate']['value']:.3f}",
        f"{test['kl']['value']:.2f}",
        f"{rate['value']:.3f}{ends}",
    )
