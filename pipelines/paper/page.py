"""docs/results/paper.md: figure by figure, what the paper claims as we understand it, and what was measured here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipelines.files import atomic_path
from pipelines.paper.figures import (
    best_of_k_figure,
    coefficient_figure,
    frontier_figure,
    improvement_figure,
    tilting_figure,
)
from pipelines.paper.parts import AGGREGATION, DEFAULT, PARTS, REFERENCE
from pipelines.paper.stored import Metric, Result, arm_curves, labels_of, load_results, mean_with_interval, shown
from pipelines.paper.tables import (
    TILTED_KLS,
    Compared,
    best_of_k_difference,
    best_of_k_table,
    coefficient_table,
    coefficient_verdict,
    convergence,
    difference_rows,
    differences,
    tilted_difference,
    tilted_table,
    trained_difference,
    trained_table,
    verdict,
    verdict_without_claim,
)
from pipelines.study.analysis import matched_difference
from pipelines.study.write import notes_of

UNIFORMITY_KL = 1.0  # nats, at which the gains of prompts are compared
BOTH_LABELS = {"raw_sum": "raw sum", "lsc_sum": "LSC sum", "raw_sum_tuned": "raw sum, tuned weights"}
SINGLE_LABELS = {"raw": "raw", "LSC": "LSC"}
FOUND = "*We find*"
HEAD = """# The paper's experiments on the embedded world

Made by `make paper`; `python -m pipelines.paper --only-write` draws it again from the stored numbers. What the paper
claims is told as we understand it (Wang et al. 2024); what is measured here is measured on
[the embedded world](../explanation/world.md) with shortcuts, which tests mechanisms and not language. Curves are
compared at matched KL by interpolation per seed, never at equal gamma; intervals are 95 % t-intervals over seeds;
*detectable* is the smallest true difference that these seeds would have shown with power 0.8. Under each figure
*we find* says in how many comparisons the claim holds, and where it does not.
"""


def write_page(study: Path, stored: Path, folder: Path) -> None:
    """Write paper.md and its figures into `folder` from the numbers in `study` and `stored`. A part not run is said."""
    both = load_results(study, "seed_*_on.json")
    parts = {name: load_results(stored / name) for name in PARTS}
    sections = [
        _both(both, folder),
        _single("helpful", parts["single_helpful"], folder),
        _single("harmless", parts["single_harmless"], folder),
        _coefficient(both, folder),
        _underfitting(both, parts, folder),
        _shortcuts(both, parts, folder),
        _aggregation(parts["aggregation"], folder),
        _best_of_k(parts["aggregation"], folder),
        _reference(parts["reference"], folder),
    ]
    with atomic_path(folder / "paper.md") as temporary:
        temporary.write_text("\n\n".join([HEAD.strip(), _in_short(sections), *sections]) + "\n", encoding="utf-8")


def _in_short(sections: Sequence[str]) -> str:
    """The first finding of every section, under its title."""
    lines = ["## In short", ""]
    for section in sections:
        title, *rest = section.splitlines()
        found = next((line[line.index(FOUND) :] for line in rest if FOUND in line), "Not run yet.")
        lines.append(f"* **{title.removeprefix('## ')}**: {found}")
    return "\n".join(lines)


def _both(results: Sequence[Result], folder: Path) -> str:
    lines = _section(
        "Both properties (figure 1)",
        "The sum of log-sigmoids of centred rewards gives a better trade-off between KL and win rate than the sum of "
        "raw rewards, at every KL and under both evaluators.",
        results,
    )
    if results:
        metrics: dict[str, Metric] = {
            "both good (gold)": _both_good,
            "evaluator 1: gold, drawn from Bradley-Terry": lambda e: float(e["evaluator_1_win_rate"]),
            "evaluator 2, helpful (85 % bar)": _evaluator_2("helpful"),
            "evaluator 2, harmless (95 % bar)": _evaluator_2("harmless"),
        }
        frontier_figure(results, BOTH_LABELS, metrics, folder / "paper_both.png")
        lines += ["![Both properties: metrics against KL](paper_both.png)", ""]
        lines += [line for note in notes_of(results) for line in (note, "")]
        lines += differences(results, "lsc_sum", "raw_sum", metrics)
        lines += ["", "Against raw sums with weights tuned on validation prompts:", ""]
        lines += differences(results, "lsc_sum", "raw_sum_tuned", metrics)
        lines += convergence(results, BOTH_LABELS)
    return "\n".join(lines)


def _single(name: str, results: Sequence[Result], folder: Path) -> str:
    lines = _section(
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
        lines += [f"![{name}: metrics against KL](paper_{name}.png)", "", *differences(results, "LSC", "raw", metrics)]
        lines += convergence(results, SINGLE_LABELS)
    return "\n".join(lines)


def _coefficient(results: Sequence[Result], folder: Path) -> str:
    lines = _section(
        "The KL coefficient",
        "A larger gamma keeps the policy closer to the SFT policy; curves over KL come from a sweep of it.",
        results,
    )
    if results:
        rates: dict[str, Metric] = {"both good": _both_good, "gold win rate": lambda e: float(e["gold_win_rate"])}
        metrics: dict[str, Metric] = {"KL, nats": lambda e: float(e["kl"]), **rates}
        coefficient_figure(results, BOTH_LABELS, metrics, folder / "paper_coefficient.png")
        lines += ["![Both properties: metrics against gamma](paper_coefficient.png)", ""]
        lines += [*coefficient_table(results, BOTH_LABELS, rates), "", coefficient_verdict(results, BOTH_LABELS)]
    return "\n".join(lines)


def _underfitting(both: Sequence[Result], parts: Mapping[str, Sequence[Result]], folder: Path) -> str:
    panels = {
        "helpful, aligned to helpful": parts["single_helpful"],
        "harmless, aligned to harmless": parts["single_harmless"],
        "helpful, aligned to both": both,
        "harmless, aligned to both": both,
    }
    panels = {title: results for title, results in panels.items() if results}
    lines = _section(
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
            "| gold, objective | raw: share not improved | LSC minus raw | worst tenth, nats, LSC minus raw | "
            "best tenth, nats, LSC minus raw |",
            "| --- | --- | --- | --- | --- |",
        ]
        compared: list[Compared] = []
        for title, results in panels.items():
            name, (raw, lsc) = title.split(",")[0], list(labels[title])[:2]
            cases = _uniformity(results, raw, lsc, name)
            known = [v for c in arm_curves(results, raw, _not_improved(name)) if (v := c.at(UNIFORMITY_KL)) is not None]
            cells = [mean_with_interval(known) if known else "-", *(shown(case.found) for case in cases)]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
            compared += [Compared(f"{case.words} of {title}", case.found, case.sign) for case in cases]
        lines += ["", verdict(compared), ""]
        lines += [
            f"Arms are interpolated per seed to {UNIFORMITY_KL:g} nat; a seed whose arms do not reach it is left out."
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


def _shortcuts(both: Sequence[Result], parts: Mapping[str, Sequence[Result]], folder: Path) -> str:
    cases = (
        ("lists", "helpful alone", parts["single_helpful"], "LSC", "raw"),
        ("consult", "harmless alone", parts["single_harmless"], "LSC", "raw"),
        ("lists", "both", both, "lsc_sum", "raw_sum"),
        ("consult", "both", both, "lsc_sum", "raw_sum"),
    )
    found = [case for case in cases if case[2]]
    lines = _section(
        "Shortcuts against KL",
        "Raw rewards drive the policy into shortcuts (lists when helpful, advice to consult somebody when harmless); "
        "the transform suppresses them.",
        found,
    )
    compared: list[Compared] = []
    for shortcut, aligned, results, lsc, raw in found:
        metric = _shortcut(shortcut)
        path = folder / f"paper_{shortcut}_{aligned.split()[0]}.png"
        labels = BOTH_LABELS if aligned == "both" else SINGLE_LABELS
        frontier_figure(results, labels, {f"{shortcut}, aligned to {aligned}": metric}, path)
        lines += [f"![{shortcut} against KL, aligned to {aligned}]({path.name})", ""]
        rows, differing = difference_rows(results, lsc, raw, {f"{shortcut}, aligned to {aligned}": metric}, sign=-1)
        lines += [*rows, ""]
        compared += differing
    return "\n".join([*lines, verdict(compared)] if found else lines)


def _aggregation(results: Sequence[Result], folder: Path) -> str:
    lines = _section(
        "Aggregation",
        "Adding log-sigmoids is the log-probability that all properties are good, an AND. The logit of the product is "
        "the same AND without diminishing utility, and so separates the two effects. If both help, the sum of "
        "log-sigmoids lies above every other aggregation.",
        results,
        asks=AGGREGATION.asks,
    )
    if results:
        metrics = {"both good": "both_good", "lists": "lists", "consult": "consult"}
        tilting_figure(results, metrics, folder / "paper_aggregation.png")
        lines += [
            "![Predicted by tilting (lines) and trained at one target KL (dots)](paper_aggregation.png)",
            "",
            *_tables(results),
            "",
            verdict(_against_default(results, sign=-1)),
            "",
            "The AND alone, logit of product over raw sum: "
            + verdict(_between(results, "logit of product", "raw sum")),
            *convergence(results, _own_names(results)),
        ]
    return "\n".join(lines)


def _best_of_k(results: Sequence[Result], folder: Path) -> str:
    lines = _section(
        "Best-of-k",
        "With several rewards the transform changes the ranking, so that best-of-k tests the aggregation alone; the "
        "sum of log-sigmoids improves it.",
        results,
    )
    if results:
        metrics = {"both good": "both_good", "good, helpful": "good.helpful", "good, harmless": "good.harmless"}
        best_of_k_figure(results, metrics, folder / "paper_best_of_k.png")
        rows, ks = best_of_k_table(results, DEFAULT)
        compared = [
            Compared(f"{other}, k = {k}", best_of_k_difference(results, DEFAULT, other, k))
            for other in labels_of(results)
            if other != DEFAULT
            for k in ks[1:]  # all objectives agree on the best of one
        ]
        lines += [
            f"![Best-of-k from {ks[-1]} samples of the SFT policy per test prompt](paper_best_of_k.png)",
            "",
            "Both good (the logit of the product grows with the sum of log-sigmoids, so both select the same answers):",
            "",
            *rows,
            "",
            f"{DEFAULT} over each other objective: {verdict(compared)}",
        ]
    return "\n".join(lines)


def _reference(results: Sequence[Result], folder: Path) -> str:
    lines = _section(
        "Reference points",
        "The reference value is a modelling choice that the paper discusses; an ablation of it is our own experiment.",
        results,
        asks=REFERENCE.asks,
    )
    if results:
        metrics = {"both good": "both_good", "good, helpful": "good.helpful", "good, harmless": "good.harmless"}
        tilting_figure(results, metrics, folder / "paper_reference.png")
        lines += [
            "![Predicted by tilting (lines) and trained at one target KL (dots)](paper_reference.png)",
            "",
            *_tables(results),
            "",
            verdict_without_claim(_against_default(results), DEFAULT),
            *convergence(results, _own_names(results)),
        ]
    return "\n".join(lines)


def _tables(results: Sequence[Result]) -> list[str]:
    shortcuts = {name: _shortcut(name) for name in ("lists", "consult")}
    target = results[0]["arms"][0]["target_kl"]
    return [
        f"Trained at a target KL of {target:g}. The measured KLs differ: for differences each arm is moved to "
        f"{target:g} along the curve that tilting predicts for its objective.",
        "",
        *trained_table(results, DEFAULT, shortcuts),
        "",
        "Both good as tilting predicts it, at matched KL:",
        "",
        *tilted_table(results, DEFAULT),
    ]


def _against_default(results: Sequence[Result], *, sign: int = 1) -> list[Compared]:
    """Every other setting minus the default, trained and predicted."""
    others = [label for label in labels_of(results) if label != DEFAULT]
    return [case for other in others for case in _between(results, other, DEFAULT, sign=sign)]


def _between(results: Sequence[Result], first: str, second: str, *, sign: int = 1) -> list[Compared]:
    trained = Compared(f"{first}, trained", trained_difference(results, first, second), sign)
    predicted = [
        Compared(f"{first}, predicted at KL {kl:g}", tilted_difference(results, first, second, kl), sign)
        for kl in TILTED_KLS
    ]
    return [trained, *predicted]


def _own_names(results: Sequence[Result]) -> dict[str, str]:
    return {label: label for label in labels_of(results)}


def _section(title: str, claim: str, results: Sequence[object], *, asks: str | None = None) -> list[str]:
    lines = [f"## {title}", "", f"*As we understand the paper:* {claim}", ""]
    lines += [f"*We ask:* {asks}", ""] if asks else []
    return lines if results else [*lines, "Not run yet."]


def _both_good(entry: Mapping[str, object]) -> float:
    return float(entry["both_good_rate"])  # type: ignore[arg-type]


def _evaluator_2(name: str) -> Callable[[Mapping[str, dict[str, dict[str, float]]]], float]:
    return lambda entry: float(entry["evaluator_2"]["evaluator"][name])


def _shortcut(name: str) -> Metric:
    return lambda entry: float(entry["shortcut_rates"][name])
