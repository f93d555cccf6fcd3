"""docs/results/paper.md: figure by figure, what the paper claims as we understand it, and what was measured here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipelines.files import atomic_path
from pipelines.paper.figures import best_of_k_figure, frontier_figure, improvement_figure, tilting_figure
from pipelines.paper.parts import AGGREGATION, DEFAULT, PARTS, REFERENCE
from pipelines.paper.stored import (
    Metric,
    Result,
    difference_at,
    labels_of,
    load_results,
    mean_with_interval,
    near_target,
    paired_difference,
    shown,
)

MATCHED_KLS = (0.5, 1.0, 1.5)
BOTH_LABELS = {"raw_sum": "raw sum", "lsc_sum": "LSC sum", "raw_sum_tuned": "raw sum, tuned weights"}
SINGLE_LABELS = {"raw": "raw", "LSC": "LSC"}
HEAD = """# The paper's experiments on the embedded world

Made by `make paper`; `python -m pipelines.paper --only-write` draws it again from the stored numbers. What the paper
claims is told as we understand it (Wang et al. 2024); what is measured here is measured on
[the embedded world](../explanation/world.md) with shortcuts, which tests mechanisms and not language. Curves are
compared at matched KL by interpolation per seed, never at equal gamma; intervals are 95 % t-intervals over seeds;
*detectable* is the smallest true difference that these seeds would have shown with power 0.8.
"""


def write_page(study: Path, stored: Path, folder: Path) -> None:
    """Write paper.md and its figures into `folder` from the numbers in `study` and `stored`. A part not run is said."""
    both = load_results(study, "seed_*_on.json")
    parts = {name: load_results(stored / name) for name in PARTS}
    sections = [
        _both(both, folder),
        _single("helpful", parts["single_helpful"], folder),
        _single("harmless", parts["single_harmless"], folder),
        _underfitting(both, parts, folder),
        _shortcuts(both, parts, folder),
        _aggregation(parts["aggregation"], folder),
        _best_of_k(parts["aggregation"], folder),
        _reference(parts["reference"], folder),
    ]
    with atomic_path(folder / "paper.md") as temporary:
        temporary.write_text("\n\n".join([HEAD.strip(), *sections]) + "\n", encoding="utf-8")


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
        lines += _differences(results, "lsc_sum", "raw_sum", metrics)
        lines += ["", "Against raw sums with weights tuned on validation prompts:", ""]
        lines += _differences(results, "lsc_sum", "raw_sum_tuned", metrics)
    return "\n".join(lines)


def _single(name: str, results: Sequence[Result], folder: Path) -> str:
    lines = _section(
        f"One property: {name}",
        "Transforming a single reward improves the trade-off between KL and win rate.",
        results,
    )
    if results:
        metrics: dict[str, Metric] = {
            f"gold win rate, {name}": lambda e: float(e["gold_win_rates"][name]),
            f"good (gold), {name}": lambda e: float(e["good_rates"][name]),
            f"evaluator 2, {name}": _evaluator_2(name),
        }
        frontier_figure(results, SINGLE_LABELS, metrics, folder / f"paper_{name}.png")
        lines += [f"![{name}: metrics against KL](paper_{name}.png)", "", *_differences(results, "LSC", "raw", metrics)]
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
        improvement_figure(panels, labels, folder / "paper_improvement.png", target=1.0)
        lines += [
            "![Gain in gold per prompt, at the arms of target KL 1](paper_improvement.png)",
            "",
            "| gold, objective | raw: not improved | LSC minus raw | worst tenth, LSC minus raw, nats |",
            "| --- | --- | --- | --- |",
        ]
        for title, results in panels.items():
            name, (raw, lsc) = title.split(",")[0], list(labels[title])[:2]
            lines.append(f"| {title} | " + " | ".join(_uniformity(results, raw, lsc, name)) + " |")
        lines += ["", "Arms at target KL 1, whose measured KLs differ a little; the figure's legend has them."]
    return "\n".join(lines)


def _uniformity(results: Sequence[Result], raw: str, lsc: str, name: str) -> list[str]:
    def values(label: str, key: str) -> list[float]:
        return [float(arm["improvement"][name][key]) for arm in near_target(results, label, 1.0)]

    first = [1.0 - value for value in values(raw, "share_improved")]
    second = [1.0 - value for value in values(lsc, "share_improved")]
    tenth = paired_difference(values(lsc, "worst_decile"), values(raw, "worst_decile"))
    return [mean_with_interval(first), shown(paired_difference(second, first)), shown(tenth)]


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
    for shortcut, aligned, results, lsc, raw in found:
        metric = _shortcut(shortcut)
        path = folder / f"paper_{shortcut}_{aligned.split()[0]}.png"
        labels = BOTH_LABELS if aligned == "both" else SINGLE_LABELS
        frontier_figure(results, labels, {f"{shortcut}, aligned to {aligned}": metric}, path)
        lines += [f"![{shortcut} against KL, aligned to {aligned}]({path.name})", ""]
        lines += [*_differences(results, lsc, raw, {f"{shortcut}, aligned to {aligned}": metric}), ""]
    return "\n".join(lines).rstrip()


def _aggregation(results: Sequence[Result], folder: Path) -> str:
    lines = _section(
        "Aggregation",
        "Adding log-sigmoids is the log-probability that all properties are good, an AND. The logit of the product is "
        "the same AND without diminishing utility, and so separates the two effects.",
        results,
        asks=AGGREGATION.asks,
    )
    if results:
        metrics = {"both good": "both_good", "lists": "lists", "consult": "consult"}
        tilting_figure(results, metrics, folder / "paper_aggregation.png")
        lines += [
            "![Predicted by tilting (lines) and trained at one target KL (dots)](paper_aggregation.png)",
            "",
            *_trained_table(results, DEFAULT),
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
        lines += [
            "![Best-of-k from 64 samples of the SFT policy per test prompt](paper_best_of_k.png)",
            "",
            "| k | " + " | ".join(labels_of(results)) + " |",
            "| ---: |" + " --- |" * len(labels_of(results)),
        ]
        ks = [point["k"] for point in results[0]["tilted"][labels_of(results)[0]]["best_of_k"]]
        for index, k in enumerate(ks):
            cells = [
                mean_with_interval([result["tilted"][label]["best_of_k"][index]["both_good"] for result in results])
                for label in labels_of(results)
            ]
            lines.append(f"| {k} | " + " | ".join(cells) + " |")
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
            *_trained_table(results, DEFAULT),
        ]
    return "\n".join(lines)


def _trained_table(results: Sequence[Result], baseline: str) -> list[str]:
    """Arms of the one trained target: both-good and shortcut rates, and the difference to `baseline`."""
    target = float(results[0]["arms"][0]["target_kl"])
    rows = [
        f"| setting | KL | both good | minus {baseline} | lists | consult |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    base = [_both_good(arm) for arm in near_target(results, baseline, target)]
    for label in labels_of(results):
        arms = near_target(results, label, target)
        good = [_both_good(arm) for arm in arms]
        kl = sum(float(arm["kl"]) for arm in arms) / len(arms)
        cells = [f"{kl:.2f}", mean_with_interval(good)]
        cells.append("" if label == baseline else shown(paired_difference(good, base)))
        cells += [mean_with_interval([_shortcut(name)(arm) for arm in arms]) for name in ("lists", "consult")]
        rows.append(f"| {label} | " + " | ".join(cells) + " |")
    return rows


def _differences(results: Sequence[Result], first: str, second: str, metrics: Mapping[str, Metric]) -> list[str]:
    rows = [
        f"| {first} minus {second} | " + " | ".join(f"KL {kl:g}" for kl in MATCHED_KLS) + " |",
        "| --- |" + " --- |" * len(MATCHED_KLS),
    ]
    apart: list[str] = []
    for name, metric in metrics.items():
        found = {kl: difference_at(results, first, second, metric, kl) for kl in MATCHED_KLS}
        rows.append(f"| {name} | " + " | ".join(shown(difference) for difference in found.values()) + " |")
        apart += [f"{name} at KL {kl:g} ({d.mean:+.3f})" for kl, d in found.items() if d and (d.low > 0 or d.high < 0)]
    asked = len(metrics) * len(MATCHED_KLS)
    told = f"{len(apart)} of {asked} can be told from 0, {0.05 * asked:.1f} would be by chance"
    return [*rows, "", f"*We find:* {told}{': ' + '; '.join(apart) if apart else ''}."]


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
