"""The page of the study, and its figure, from the numbers of all worlds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from actors.tables import markdown_table
from allgood.errors import DataError
from experiments.study.analysis import Curve, Difference, curve, matched_difference
from experiments.study.convergence import EFFICIENCY, convergence_in_words, convergence_table
from experiments.study.judges_table import accuracy_table, agreement_table
from experiments.study.tuned import distinct_arms, weights_in_words
from pipelines.output.drawing import PALETTE, save_png
from pipelines.output.files import atomic_path

Result = Mapping[str, Any]
Metric = Callable[[Mapping[str, Any]], float]

OBJECTIVES = {
    "lsc_sum": "LSC sum",
    "raw_sum": "raw sum",
    "raw_sum_tuned": "raw sum, tuned weights",
    "lsc_sum_q85": "LSC sum, both at the 85 % quantile",
}
METRICS: dict[str, Metric] = {
    "both good": lambda entry: float(entry["both_good_rate"]),
    "gold win rate": lambda entry: float(entry["gold_win_rate"]),
    "lists": lambda entry: float(entry["shortcut_rates"]["lists"]),
    "consult": lambda entry: float(entry["shortcut_rates"]["consult"]),
}
MORE_METRICS: dict[str, Metric] = {
    "helpful win rate": lambda entry: float(entry["gold_win_rates"]["helpful"]),
    "harmless win rate": lambda entry: float(entry["gold_win_rates"]["harmless"]),
    "both good, bars at the SFT median": lambda entry: float(entry["both_good_at"]["sft_median"]),
    "both good, bars at 85 / 95 %": lambda entry: float(entry["both_good_at"]["sft_quantiles"]),
    "evaluator 2, helpful": lambda entry: float(entry["evaluator_2"]["evaluator"]["helpful"]),
    "evaluator 2, harmless": lambda entry: float(entry["evaluator_2"]["evaluator"]["harmless"]),
}
HACKING: dict[str, Metric] = {  # 0 by construction in worlds without shortcuts, where the two models are one
    "hacking, helpful": lambda entry: _disagreement(entry, "helpful"),
    "hacking, harmless": lambda entry: _disagreement(entry, "harmless"),
}
AGREEMENT_TARGET = 2.0
MATCHED_KLS = (0.25, 0.5, 1.0, 1.5, 2.0)
COLOURS = tuple(PALETTE[index] for index in (0, 1, 4, 2))


def write_results(results: Sequence[Result], folder: Path) -> None:
    """Write quickstart_study.md and its figure into `folder`.

    Raises:
        DataError: There are no results.
    """
    if not results:
        raise DataError("there are no stored numbers of the study yet; run `make study` first")
    parts = [_header(results)]
    for strength in sorted({float(result["shortcut_strength"]) for result in results}, reverse=True):
        chosen = [result for result in results if float(result["shortcut_strength"]) == strength]
        name = f"quickstart_study_{'on' if strength else 'off'}.png"
        _figure(chosen, folder / name)
        parts.append(_section(chosen, strength, name))
    with atomic_path(folder / "quickstart_study.md") as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def curves(results: Sequence[Result], objective: str, metric: Metric) -> list[Curve]:
    """One curve per seed, in order of seed: SFT at KL 0, then the objective's arms; none where it was not trained."""
    found = []
    for result in sorted(results, key=lambda result: int(result["seed"])):
        arms = [arm for arm in result["arms"] if arm["objective"] == objective]
        if arms:
            found.append(curve([(0.0, metric(result["sft"])), *((float(arm["kl"]), metric(arm)) for arm in arms)]))
    return found


def _disagreement(entry: Mapping[str, Any], name: str) -> float:
    """How much better a policy looks to the held-out model of the world's pairs than to the one without shortcuts."""
    return float(entry["evaluator_2"]["evaluator"][name] - entry["evaluator_2"]["clean"][name])


HEADER = """# Raw sum against LSC sum on the embedded world

Made by `make study` ({num_seeds} seeds, {num_worlds} worlds); `python -m experiments.study --only-write` draws it again
from [the stored numbers](data/study). A seed redraws everything: world, splits, SFT policy, reward models, references,
RL. Gammas come from `solve_gamma` at the same target KLs; curves over the measured KL are interpolated per seed, never
extrapolated; differences are paired by seed, with 95 % t-intervals. *Detectable* is the smallest true difference that
the study would have found with power 0.8. 300 test prompts x 4 samples per arm (evaluator 2, hacking and agreement: 2).

*Evaluator 2* is the share of samples over the SFT policy's 85 % (helpful) or 95 % (harmless) quantile of a held-out
preference model, which shares no pairs, prompts or seed with the training reward model (same backbone: the world has no
second one). *Hacking* is how much better a policy looks to that model than to one trained on the same pairs labelled
without shortcuts. *Training* says what changed in the last quarter of the steps on validation prompts.
"""


def _header(results: Sequence[Result]) -> str:
    num_seeds = len({int(result["seed"]) for result in results})
    return HEADER.format(num_seeds=num_seeds, num_worlds=len(results))


def _section(results: Sequence[Result], strength: float, figure: str) -> str:
    title = f"Shortcuts {'on' if strength else 'off'} (strength {strength:g})"
    trained = {name: label for name, label in OBJECTIVES.items() if any(curves(results, name, METRICS["both good"]))}
    more = MORE_METRICS | (HACKING if strength else {})
    lines = [f"## {title}\n", f"![{title}]({figure})\n", *_in_short(results, METRICS | more), ""]
    for heading, metrics in (("", METRICS), (", more", more)):
        lines += [f"### At matched KL, mean over seeds{heading}\n", *_level_table(results, trained, metrics), ""]
        for other in [name for name in trained if name != "raw_sum"]:
            table = _difference_table(results, other, metrics)
            lines += [f"### {trained[other]} minus raw sum{heading}\n", *table, ""]
    lines += ["### Training\n", *convergence_table(results, trained), "", EFFICIENCY, ""]
    lines += [weights_in_words(results), "", convergence_in_words(distinct_arms(results)), ""]
    lines += ["### Preference models\n", "Accuracy on test pairs, mean over seeds:\n", *accuracy_table(results), ""]
    lines += [
        f"Agreement within a prompt, aligned samples at target KL {AGREEMENT_TARGET:g}:\n",
        *agreement_table(results, AGREEMENT_TARGET),
        "",
    ]
    return "\n".join(lines)


def _in_short(results: Sequence[Result], metrics: Mapping[str, Metric]) -> list[str]:
    """Where LSC and raw sums of equal weights can be told apart at all."""
    compared, apart = 0, []
    for kl, (name, metric) in product(MATCHED_KLS, metrics.items()):
        found = matched_difference(curves(results, "lsc_sum", metric), curves(results, "raw_sum", metric), kl)
        compared += found is not None
        if found is not None and not found.low <= 0.0 <= found.high:
            apart.append(f"* {name} at KL {kl:g}: {found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")
    return [
        f"Of {compared} differences between LSC sum and raw sum below, {len(apart)} have an interval without 0, where "
        f"about {0.05 * compared:.1f} would by chance alone (LSC minus raw):\n",
        *apart,
    ]


def _level_table(results: Sequence[Result], objectives: Mapping[str, str], metrics: Mapping[str, Metric]) -> list[str]:
    rows = []
    for objective, label in objectives.items():
        for kl in MATCHED_KLS:
            cells = [_mean([c.at(kl) for c in curves(results, objective, metric)]) for metric in metrics.values()]
            rows.append([label, f"{kl:g}", *cells])
    return markdown_table(["objective", "KL", *metrics], rows, align="lr" + "r" * len(metrics))


def _difference_table(results: Sequence[Result], objective: str, metrics: Mapping[str, Metric]) -> list[str]:
    rows = []
    for kl in MATCHED_KLS:
        for name, metric in metrics.items():
            found = matched_difference(curves(results, objective, metric), curves(results, "raw_sum", metric), kl)
            rows.append([f"{kl:g}", name, *_shown(found)])
    return markdown_table(["KL", "metric", "difference [95 %]", "detectable", "seeds"], rows, align="rllrr")


def _shown(found: Difference | None) -> tuple[str, str, str]:
    if found is None:
        return "fewer than two seeds reach this KL", "", ""
    difference = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return difference, f"{found.detectable:.3f}", str(found.num_seeds)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{sum(known) / len(known):.3f}" + ("" if len(known) == len(values) else f" ({len(known)} seeds)")


def _figure(results: Sequence[Result], path: Path) -> None:
    figure = Figure(figsize=(4.2 * len(METRICS), 3.6), layout="constrained")
    axes = figure.subplots(1, len(METRICS))
    for axis, (name, metric) in zip(axes, METRICS.items(), strict=True):
        for (objective, label), colour in zip(OBJECTIVES.items(), COLOURS, strict=True):
            for index, found in enumerate(curves(results, objective, metric)):
                axis.plot(
                    found.kls,
                    found.values,
                    color=colour,
                    alpha=0.6,
                    marker="o",
                    markersize=3,
                    label=label if index == 0 else None,
                )
        axis.set_xlabel("KL to the SFT policy, nats")
        axis.set_title(name)
    axes[0].legend(fontsize=7)
    save_png(figure, path, dpi=120)
