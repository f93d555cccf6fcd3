"""Sections of the page on arms trained over several target KLs: raw against log-sigmoid, for one property and both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from actors.tables import markdown_table
from experiments.paper.figures import coefficient_figure, frontier_figure, improvement_figure
from experiments.paper.section import both_good, section, shortcut_rate
from experiments.paper.stored import Metric, Result, arm_curves, mean_with_interval, shown
from experiments.paper.tables import (
    Compared,
    coefficient_table,
    coefficient_verdict,
    convergence,
    difference_rows,
    differences,
    verdict,
)
from experiments.study.analysis import matched_difference
from experiments.study.tuned import TUNED

UNIFORMITY_KL = 1.0  # nats, at which the gains of prompts are compared
BOTH_LABELS = {"raw_sum": "raw sum", "lsc_sum": "LSC sum", "raw_sum_tuned": "raw sum, tuned weights"}
SINGLE_LABELS = {"raw": "raw", "LSC": "LSC"}
UNIFORMITY_COLUMNS = (
    "gold, objective",
    "raw: share not improved",
    "LSC minus raw",
    "worst tenth, nats, LSC minus raw",
    "best tenth, nats, LSC minus raw",
)


def both_properties(results: Sequence[Result], folder: Path) -> str:
    """Sums of both properties: win rates under both evaluators, and how far the arms had converged."""
    lines = section(
        "Both properties (figure 1)",
        "The sum of log-sigmoids of centred rewards gives a better trade-off between KL and win rate than the sum of "
        "raw rewards, at every KL and under both evaluators.",
        results,
    )
    if results:
        metrics: dict[str, Metric] = {
            "both good (gold)": both_good,
            "evaluator 1: gold, drawn from Bradley-Terry": lambda e: float(e["evaluator_1_win_rate"]),
            "evaluator 2, helpful (85 % bar)": _evaluator_2("helpful"),
            "evaluator 2, harmless (95 % bar)": _evaluator_2("harmless"),
        }
        frontier_figure(results, BOTH_LABELS, metrics, folder / "paper_both.png")
        lines += ["![Both properties: metrics against KL](paper_both.png)", ""]
        lines += differences(results, "lsc_sum", "raw_sum", metrics)
        lines += ["", "Against raw sums with weights tuned on validation prompts:", ""]
        lines += differences(results, "lsc_sum", "raw_sum_tuned", metrics)
        lines += convergence(results, BOTH_LABELS)
    return "\n".join(lines)


def single_property(name: str, results: Sequence[Result], folder: Path) -> str:
    """The transform of a single reward."""
    lines = section(
        f"One property: {name}",
        "Transforming a single reward improves the trade-off between KL and win rate, under both evaluators.",
        results,
    )
    if results:
        metrics: dict[str, Metric] = {
            f"gold win rate, {name}": lambda e: float(e["gold_win_rates"][name]),
            f"good (gold), {name}": lambda e: float(e["good_rates"][name]),
        }
        metrics[f"evaluator 1, {name}"] = lambda e: float(e["evaluator_1_win_rates"][name])
        metrics[f"evaluator 2, {name}"] = _evaluator_2(name)
        frontier_figure(results, SINGLE_LABELS, metrics, folder / f"paper_{name}.png")
        lines += [f"![{name}: metrics against KL](paper_{name}.png)", ""]
        lines += differences(results, "LSC", "raw", metrics)
        lines += convergence(results, SINGLE_LABELS)
    return "\n".join(lines)


def kl_coefficient(results: Sequence[Result], folder: Path) -> str:
    """What gamma does to the measured KL."""
    lines = section(
        "The KL coefficient",
        "A larger gamma keeps the policy closer to the SFT policy; curves over KL come from a sweep of it.",
        results,
    )
    if results:
        rates: dict[str, Metric] = {"both good": both_good, "gold win rate": lambda e: float(e["gold_win_rate"])}
        metrics: dict[str, Metric] = {"KL, nats": lambda e: float(e["kl"]), **rates}
        coefficient_figure(results, BOTH_LABELS, metrics, folder / "paper_coefficient.png")
        lines += ["![Both properties: metrics against gamma](paper_coefficient.png)", ""]
        of_one_utility = {label: words for label, words in BOTH_LABELS.items() if label != TUNED}
        lines += [*coefficient_table(results, BOTH_LABELS, rates), "", coefficient_verdict(results, of_one_utility)]
    return "\n".join(lines)


def underfitting(both: Sequence[Result], parts: Mapping[str, Sequence[Result]], folder: Path) -> str:
    """Gains per prompt at a matched KL: are they more uniform with the transform?"""
    panels = {
        "helpful, aligned to helpful": parts["single_helpful"],
        "harmless, aligned to harmless": parts["single_harmless"],
        "helpful, aligned to both": both,
        "harmless, aligned to both": both,
    }
    panels = {title: results for title, results in panels.items() if results}
    lines = section(
        "Underfitting at matched KL",
        "At a matched KL, gains over the SFT policy are more uniform with the transform: fewer prompts without "
        "improvement, fewer with an extreme one.",
        list(panels),
    )
    if panels:
        labels = {title: BOTH_LABELS if results is both else SINGLE_LABELS for title, results in panels.items()}
        improvement_figure(panels, labels, folder / "paper_improvement.png", kl=UNIFORMITY_KL)
        lines += [
            f"![Gain in gold per prompt at a KL of {UNIFORMITY_KL:g} nat](paper_improvement.png)",
            "",
        ]
        rows: list[list[str]] = []
        compared: list[Compared] = []
        for title, results in panels.items():
            name, (raw, lsc) = title.split(",")[0], list(labels[title])[:2]
            cases = _uniformity(results, raw, lsc, name)
            known = [v for c in arm_curves(results, raw, _not_improved(name)) if (v := c.at(UNIFORMITY_KL)) is not None]
            cells = [mean_with_interval(known) if known else "-", *(shown(case.found) for case in cases)]
            rows.append([title, *cells])
            compared += [Compared(f"{case.words} of {title}", case.found, case.sign) for case in cases]
        lines += [*markdown_table(UNIFORMITY_COLUMNS, rows), "", verdict(compared), ""]
        lines += [
            f"Arms are interpolated per seed to {UNIFORMITY_KL:g} nat; a seed whose arms do not reach it is left out. "
            "The gain of a prompt is a mean over few samples, so that tenths and shares also hold the spread of "
            "samples within a prompt, which may differ by objective."
        ]
    return "\n".join(lines)


def _uniformity(results: Sequence[Result], raw: str, lsc: str, name: str) -> list[Compared]:
    """LSC minus raw at a matched KL, with the signs of more uniform gains."""
    metrics: dict[str, tuple[Metric, int]] = {
        "the share not improved": (_not_improved(name), -1),
        "the worst tenth": (lambda arm: float(arm["improvement"][name]["worst_decile"]), 1),
        "the best tenth": (lambda arm: float(arm["improvement"][name]["best_decile"]), -1),
    }
    return [
        Compared(
            words,
            matched_difference(arm_curves(results, lsc, metric), arm_curves(results, raw, metric), UNIFORMITY_KL),
            sign,
        )
        for words, (metric, sign) in metrics.items()
    ]


def _not_improved(name: str) -> Metric:
    return lambda arm: 1.0 - float(arm["improvement"][name]["share_improved"])


def shortcuts(both: Sequence[Result], parts: Mapping[str, Sequence[Result]], folder: Path) -> str:
    """How often policies take the world's shortcuts, over KL."""
    cases = (
        ("lists", "helpful alone", parts["single_helpful"], "LSC", "raw"),
        ("consult", "harmless alone", parts["single_harmless"], "LSC", "raw"),
        ("lists", "both", both, "lsc_sum", "raw_sum"),
        ("consult", "both", both, "lsc_sum", "raw_sum"),
    )
    found = [case for case in cases if case[2]]
    lines = section(
        "Shortcuts against KL",
        "Raw rewards drive the policy into shortcuts (lists when helpful, advice to consult somebody when harmless); "
        "the transform suppresses them.",
        found,
    )
    compared: list[Compared] = []
    for shortcut, aligned, results, lsc, raw in found:
        metric = shortcut_rate(shortcut)
        path = folder / f"paper_{shortcut}_{aligned.split()[0]}.png"
        labels = BOTH_LABELS if aligned == "both" else SINGLE_LABELS
        frontier_figure(results, labels, {f"{shortcut}, aligned to {aligned}": metric}, path)
        lines += [f"![{shortcut} against KL, aligned to {aligned}]({path.name})", ""]
        rows, differing = difference_rows(results, lsc, raw, {f"{shortcut}, aligned to {aligned}": metric}, sign=-1)
        lines += [*rows, ""]
        compared += differing
    return "\n".join([*lines, verdict(compared)] if found else lines)


def _evaluator_2(name: str) -> Callable[[Mapping[str, dict[str, dict[str, float]]]], float]:
    return lambda entry: float(entry["evaluator_2"]["evaluator"][name])
