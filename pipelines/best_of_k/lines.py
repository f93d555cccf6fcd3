"""The summary of `allgood best-of-k` for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.tables import text_table

SHOWN_KS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Summary = dict[str, Any]


def summary_lines(summary: Summary) -> list[str]:
    """The frontier as a table for the terminal, and what was selected."""
    steps = summary["frontier"]
    last = steps[-1]["k"]
    shown = [step for step in steps if step["k"] in SHOWN_KS or step["k"] == last]
    names = [name for name in steps[0]["values"] if not name.startswith("reward.")]
    rows = []
    for step in shown:
        values = (step["values"].get(name) for name in names)
        rows.append(
            [
                str(step["k"]),
                f"{step['prompts']}",
                f"{step['kl_bound']:.2f}",
                f"{step['kl_estimate']:.2f}",
                *("-" if value is None else f"{value['value']:.3f}" for value in values),
            ]
        )
    selected, low_high = summary["selected"], summary["answers_per_prompt"]
    return [
        f"{summary['prompts_in_curve']} of {summary['prompts']} prompts have the {last} scored answers that the curve "
        f"needs ({low_high[0]} to {low_high[1]} per prompt); {summary['answers_without_utility']} of "
        f"{summary['answers']} answers have no utility",
        *text_table(["k", "prompts", "KL bound", "KL", *names], rows),
        f"selected: {selected['rows']} responses{_by_split(selected['by_split'])}; "
        f"{selected['prompts_below_min_utility']} prompts had none good enough, "
        f"{selected['prompts_without_choice']} had no choice",
        f"pairs: {summary['pairs']['rows']}; {summary['pairs']['prompts_with_ties']} prompts had ties only",
        *_tilted_lines(summary.get("tilted")),
    ]


def _tilted_lines(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    doubt = "" if found["reliable"] else "; too few answers for this KL: it reads too low, take more of them"
    return [
        f"tilted to {found['kl']:g} nats (gamma {found['gamma']:.4g}): {found['rows_drawn']} rows drawn, "
        f"{found['effective_sample_size']:.1f} answers per prompt count{doubt}"
    ]


def _by_split(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{split} {count}' for split, count in counts.items())})" if counts else ""
