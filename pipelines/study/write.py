"""The page of the study, and its figure, from the numbers of all worlds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from pipelines.files import atomic_path
from pipelines.study.analysis import Curve, Difference, curve, matched_difference

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
MATCHED_KLS = (0.25, 0.5, 1.0, 1.5, 2.0)
COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#009E73")  # Okabe and Ito, safe for the colour-blind


def write_results(results: Sequence[Result], folder: Path) -> None:
    """Write quickstart_study.md and its figure into `folder`.

    Raises:
        ValueError: There are no results.
    """
    if not results:
        raise ValueError("results must hold at least one world, got none")
    parts = [_header(results)]
    for strength in sorted({float(result["shortcut_strength"]) for result in results}, reverse=True):
        chosen = [result for result in results if float(result["shortcut_strength"]) == strength]
        name = f"quickstart_study_{'on' if strength else 'off'}.png"
        _figure(chosen, folder / name)
        parts.append(_section(chosen, strength, name))
    with atomic_path(folder / "quickstart_study.md") as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def curves(results: Sequence[Result], objective: str, metric: Metric) -> list[Curve]:
    """One curve per seed, in order of seed: SFT at KL 0, then the objective's arms."""
    found = []
    for result in sorted(results, key=lambda result: int(result["seed"])):
        arms = [arm for arm in result["arms"] if arm["objective"] == objective]
        found.append(curve([(0.0, metric(result["sft"])), *((float(arm["kl"]), metric(arm)) for arm in arms)]))
    return found


def _header(results: Sequence[Result]) -> str:
    seeds = sorted({int(result["seed"]) for result in results})
    return (
        "# Raw sum against LSC sum on the embedded world\n\n"
        f"Made by `make study` ({len(seeds)} seeds, {len(results)} worlds). A seed redraws everything: world, splits, "
        "SFT policy, reward models, references, RL. Gammas come from `solve_gamma` at the same target KLs; curves over "
        "the measured KL are interpolated per seed, never extrapolated; differences are paired by seed, with 95 % "
        "t-intervals. *Detectable* is the smallest true difference that the study would have found with power 0.8. "
        "Test prompts: 300 x 4 samples per arm.\n"
    )


def _section(results: Sequence[Result], strength: float, figure: str) -> str:
    title = f"Shortcuts {'on' if strength else 'off'} (strength {strength:g})"
    accuracies = {
        name: sum(result["reward_accuracy"][name] for result in results) / len(results)
        for name in results[0]["reward_accuracy"]
    }
    shown = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in accuracies.items())
    lines = [
        f"## {title}\n",
        f"Held-out accuracy of the reward models, mean over seeds: {shown}.\n",
        f"![{title}]({figure})\n",
    ]
    lines += ["### At matched KL, mean over seeds\n", *_level_table(results), ""]
    for other in [name for name in OBJECTIVES if name != "raw_sum"]:
        lines += [f"### {OBJECTIVES[other]} minus raw sum\n", *_difference_table(results, other), ""]
    return "\n".join(lines)


def _level_table(results: Sequence[Result]) -> list[str]:
    rows = ["| objective | KL | " + " | ".join(METRICS) + " |", "| --- |" + " ---: |" * (len(METRICS) + 1)]
    for objective, label in OBJECTIVES.items():
        for kl in MATCHED_KLS:
            cells = [_mean([c.at(kl) for c in curves(results, objective, metric)]) for metric in METRICS.values()]
            rows.append(f"| {label} | {kl:g} | " + " | ".join(cells) + " |")
    return rows


def _difference_table(results: Sequence[Result], objective: str) -> list[str]:
    rows = ["| KL | metric | difference [95 %] | detectable | seeds |", "| ---: | --- | --- | ---: | ---: |"]
    for kl in MATCHED_KLS:
        for name, metric in METRICS.items():
            found = matched_difference(curves(results, objective, metric), curves(results, "raw_sum", metric), kl)
            rows.append(f"| {kl:g} | {name} | {_shown(found)} |")
    return rows


def _shown(found: Difference | None) -> str:
    if found is None:
        return "fewer than two seeds reach this KL | | "
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}] | {found.detectable:.3f} | {found.num_seeds}"


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{sum(known) / len(known):.3f}" + ("" if len(known) == len(values) else f" ({len(known)} seeds)")


def _figure(results: Sequence[Result], path: Path) -> None:
    figure, axes = plt.subplots(1, len(METRICS), figsize=(4.2 * len(METRICS), 3.6), constrained_layout=True)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
