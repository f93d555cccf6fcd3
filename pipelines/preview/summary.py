"""What a preview found, in numbers to read: `summary.json`, and the table that the terminal shows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.config.run import RunConfig
from pipelines.objective.guards import kl_notice
from pipelines.preview.frontier import Best, best_within, pareto_front
from pipelines.preview.measures import judged_by
from pipelines.preview.predict import Prediction
from pipelines.preview.rows import Row, finite, row_of
from pipelines.preview.run import Predicted, Preview

COLUMNS = ("KL ≤", "KL", "value ± se", "on other prompts", "alike", "γ or k")
METRIC_NAMES = {
    "both_good_rate": "both good, by gold",
    "evaluator_win_rate": "win rate by the held-out evaluators",
    "reward_win_rate": "win rate by the training reward models",
    "gold_win_rate": "gold win rate",
}


def summary_of(preview: Preview) -> dict[str, Any]:
    """Counts, the start policy itself, the run file's own setting, the best per KL budget, the Pareto front."""
    pairs = list(preview.distinct)
    predictions = [prediction for _, prediction in pairs]
    front = pareto_front(predictions, preview.headline)
    best = [best_within(predictions, budget, preview.headline) for budget in preview.config.preview.kl_budgets]
    return {
        "name": preview.config.name,
        "split": preview.config.preview.split,
        "num_prompts": preview.measures.num_prompts,
        "num_dropped_prompts": preview.num_dropped_prompts,
        "num_samples": preview.num_samples,
        "num_settings": len(preview.settings),
        "num_predictions": sum(len(found.predictions) for found in preview.settings),
        "num_distinct_predictions": len(pairs),
        "num_unreliable": sum(not found.reliable and bool(found.numbers) for found in predictions),
        "num_out_of_reach": sum(not found.numbers for found in predictions),
        "left_out": dict(preview.grid.left_out),
        "headline": preview.headline,
        "evaluated": sorted(judged_by("evaluator", preview.measures.comparisons)),
        "unjudged": sorted(preview.config.properties.keys() - _judged(preview)),
        "sft": finite(_baseline(preview)),
        "own": [
            row_of(preview, own, found) for own in preview.settings if own.setting.is_own for found in own.predictions
        ],
        "reaches_the_tilt": _reaches_the_tilt(preview.config),
        "budgets_without_setting": [
            budget for budget, found in zip(preview.config.preview.kl_budgets, best, strict=True) if found is None
        ],
        "best": [_best_entry(preview, pairs, found) for found in best if found is not None],
        "pareto_front": [row_of(preview, *pairs[position]) for position in front],
        "seconds": preview.seconds,
    }


def _judged(preview: Preview) -> set[str]:
    """The properties that the headline metric says something of."""
    if preview.headline == "both_good_rate":
        return {name.removeprefix("good.") for name in preview.measures.names if name.startswith("good.")}
    return judged_by(preview.headline.removesuffix("_win_rate"), preview.measures.comparisons)


def _best_entry(preview: Preview, pairs: Sequence[tuple[Predicted, Prediction]], found: Best) -> dict[str, Any]:
    reliable = None if found.reliable is None else row_of(preview, *pairs[found.reliable])
    return {
        "kl_budget": found.budget,
        "best": row_of(preview, *pairs[found.position]),
        "best_reliable": reliable,
        "value_on_other_prompts": finite({"value": found.honest_value})["value"],
        "num_alike": found.num_alike,
        "num_within_budget": found.num_within,
    }


def _reaches_the_tilt(config: RunConfig) -> bool:
    """Whether training with the run file's KL has the gradient whose optimum is the tilt."""
    return kl_notice(config) is None


def _baseline(preview: Preview) -> dict[str, float]:
    """The start policy: plain means over its samples; it wins half of the time against itself."""
    means = preview.measures.values.mean((0, 1)).tolist()
    return dict(zip(preview.measures.names, means, strict=True)) | {"kl": 0.0}


def show(summary: Mapping[str, Any], config: RunConfig, config_path: Path, console: Console) -> None:
    """The best settings per KL budget, how far to trust them, and how to train one."""
    table = Table(title=f"best settings by {METRIC_NAMES[summary['headline']]}", title_justify="left")
    for heading in ("", *COLUMNS):
        table.add_column(heading, justify="right")
    shown = best_rows(summary)
    for number, row in enumerate(shown, start=1):
        table.add_row(str(number), *cells(summary, row))
    console.print(table)
    for number, row in enumerate(shown, start=1):
        console.print(f"{number:>2}  {setting_name(row)}", markup=False, highlight=False)
    for line in notes(summary):
        console.print(line, markup=False, highlight=False)
    trainable = [row for row in shown if row["method"] == "tilt"]
    if trainable:
        chosen = max(trainable, key=lambda row: (row["reliable"], row[summary["headline"]]))
        words = ["name=previewed", f"base={config.base_folder}", *chosen["overrides"]]
        caution = "" if chosen["reliable"] else " (to try it: the samples support no tilt of this table)"
        console.print(f"\ntrain number {shown.index(chosen) + 1} with{caution}:", markup=False)
        # One long line that can be copied: neither wrapped nor coloured.
        console.print(
            shlex.join(["allgood", "align", str(config_path), *words]), markup=False, highlight=False, soft_wrap=True
        )


def best_rows(summary: Mapping[str, Any]) -> list[Row]:
    """The best setting of each KL budget, below it the best that the samples support where they do not support it."""
    rows: list[Row] = []
    for entry in summary["best"]:
        rows.append(entry["best"])
        if not entry["best"]["reliable"] and entry["best_reliable"] is not None:
            rows.append(entry["best_reliable"])
    return rows


def cells(summary: Mapping[str, Any], row: Row) -> list[str]:
    """A row of `best_rows` under `COLUMNS`; what is said of a budget stands alongside its best setting."""
    metric = summary["headline"]
    entry = next((entry for entry in summary["best"] if entry["best"] is row), None)
    other = entry and entry["value_on_other_prompts"]
    error = row[f"{metric}_se"]  # none with a single prompt
    return [
        "" if entry is None else f"{entry['kl_budget']:g}",
        f"{row['kl']:.2f}" + ("  " if row["reliable"] else " !"),
        f"{row[metric]:.3f} ± {'-' if error is None else f'{error:.3f}'}",
        "" if other is None else f"{other:.3f}",
        "" if entry is None else f"{entry['num_alike']} of {entry['num_within_budget']}",
        level_name(row),
    ]


def level_name(row: Row) -> str:
    """The KL coefficient, or the k of best-of-k."""
    return f"k = {row['k']}" if row["method"] == "best_of_k" else f"{row['gamma']:.3g}"


def setting_name(row: Row) -> str:
    """Objective, transform and references in one phrase."""
    references = ", ".join(
        f"{key.removeprefix('reference.')} {value}" for key, value in row.items() if key.startswith("reference.")
    )
    name = f"{row['objective']}; {row['transform']}; {references}"
    return name + ("; the run file's own" if row["is_own"] else "")


def notes(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know before trusting the table."""
    found = [
        f"{summary['num_predictions']} predictions, {summary['num_distinct_predictions']} of them distinct, from "
        f"{summary['num_samples']} samples of the start policy on {summary['num_prompts']} {summary['split']} prompts "
        f"in {summary['seconds']:.0f} s. The start policy itself: {_shown(summary['sft'], summary['headline'])}.",
        "on other prompts: the best of one half of the prompts, measured on the other half; alike: settings within the "
        "budget that these prompts cannot tell from the best.",
    ]
    if summary["num_unreliable"] or summary["num_out_of_reach"]:
        found.append(
            f"!: too few samples for that KL: it reads too low, and so do its gains ({summary['num_unreliable']} "
            f"predictions; {summary['num_out_of_reach']} more lie beyond what {summary['num_samples']} samples can "
            f"show). More samples: `allgood reference CONFIG --num-samples {4 * summary['num_samples']}`."
        )
    found += [
        f"Nothing lies within {budget:g} nats; lower preview.target_kls, or raise preview.kl_budgets."
        for budget in summary["budgets_without_setting"]
    ]
    if not summary["reaches_the_tilt"]:
        found.append(
            "The run file's kl.estimator and kl.placement have another gradient than the objective: training with "
            "them does not aim at what is predicted here."
        )
    if any(row["objective_kind"] == "lagrangian" for row in (*best_rows(summary), *summary["own"])):
        found.append("A Lagrangian is predicted with its initial multipliers; training learns others.")
    if summary["num_dropped_prompts"]:
        found.append(f"{summary['num_dropped_prompts']} prompts were left out because a score of theirs failed.")
    if summary["left_out"]:
        count, example = sum(summary["left_out"].values()), next(iter(summary["left_out"]))
        found.append(f"{count} combinations mean nothing and were left out, such as: {example}")
    if summary["headline"] != "both_good_rate":
        found.append(f"There is no gold here: settings are ranked by {METRIC_NAMES[summary['headline']]}.")
    if summary["unjudged"]:
        found.append(
            f"Nobody judges {', '.join(summary['unjudged'])}: settings are ranked by the other properties alone."
        )
    if summary["headline"] == "reward_win_rate":
        if summary["evaluated"]:
            found.append(
                f"Held-out evaluators judge only {', '.join(summary['evaluated'])}: ranked by them, settings that "
                "neglect the other properties would come first."
            )
        found.append(
            "A training reward model is no judge: what it likes at high KL may be reward hacking. Give held-out "
            "evaluators (`properties.<name>.evaluator`, trained with `allgood reward --held-out` or finished ones) and "
            "make the references again."
        )
    return found


def _shown(baseline: Mapping[str, float | None], headline: str) -> str:
    value = baseline.get(headline)
    return f"{METRIC_NAMES[headline]} {0.5 if value is None else value:.3f}"
