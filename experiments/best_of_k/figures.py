"""The study's figures, drawn from its stored results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.best_of_k.rankers import LABELS
from pipelines.best_of_k.plot import log_k_axis
from pipelines.output.drawing import GREY, MARKERS, PALETTE, plain_axes, png_bytes

Results = Mapping[str, Any]

TITLES = {
    "gold.helpful": "gold of helpful (judge logit)",
    "gold.concise": "gold of concise (nats)",
    "both": "both golds over the prompt's 75 % quantile",
    "both_median": "both golds over the prompt's median",
}
COLORS = (*PALETTE, "#5b3a00", "#7a7a2e")
SHAPES = (*MARKERS, "<", ">")
STYLES = {name: (COLORS[index], SHAPES[index]) for index, name in enumerate(LABELS)}
BANDS = ("raw_sum", "weighted_sum", "lsc_sum")  # whose intervals are drawn: those of all ten would hide each other
LINES = {"helpful": "--", "concise": "--", "longer": "-.", "shorter": "-."}  # not meant to be good at both


def curves_figure(results: Results) -> bytes:
    """Gold of the chosen answer against k, one line per ranker, with 95 % intervals of the three that are compared."""
    figure = Figure(figsize=(11.5, 8.2), layout="constrained")
    for position, (metric, title) in enumerate(TITLES.items()):
        axes = figure.add_subplot(2, 2, position + 1)
        for name, by_metric in results["curves"].items():
            _line(axes, by_metric[metric], name)
        if metric == "both":
            oracle = results["oracle"]
            axes.plot(*_points(oracle), color=GREY, linestyle=":", linewidth=1.3, label="any of the k (oracle)")
            axes.set_ylim(0, None)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("k (best of k)", fontsize=9)
        log_k_axis(axes, results["max_k"])
        if metric == "both":
            handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    figure.suptitle(f"Best of k on {results['prompts']['test']} held-out prompts with real answers", fontsize=12)
    return png_bytes(figure, dpi=110)


def differences_figure(results: Results, *, k: int, baseline: str) -> bytes:
    """Paired differences of every ranker to `baseline` at this k, with 95 % intervals over prompts."""
    metrics = ("both", "both_median", "gold.helpful", "gold.concise")
    figure = Figure(figsize=(12.5, 3.9), layout="constrained")
    for position, metric in enumerate(metrics):
        rows = [
            row for row in results["differences"] if (row["k"], row["baseline"], row["metric"]) == (k, baseline, metric)
        ]
        axes = figure.add_subplot(1, len(metrics), position + 1)
        _forest(axes, rows, show_names=position == 0)
        axes.set_title(TITLES[metric], fontsize=8.5)
    figure.suptitle(f"Best of {k}: difference to {LABELS[baseline]}, paired by prompt, 95 % intervals", fontsize=11)
    return png_bytes(figure, dpi=110)


def _line(axes: Axes, points: Sequence[Mapping[str, float]], name: str) -> None:
    color, marker = STYLES[name]
    style = LINES.get(name, "-")
    if name in BANDS:
        low, high = ([point[end] for point in points] for end in ("low", "high"))
        axes.fill_between(_points(points)[0], low, high, color=color, alpha=0.12, linewidth=0)
    axes.plot(
        *_points(points), color=color, marker=marker, markersize=4, linestyle=style, linewidth=1.3, label=LABELS[name]
    )


def _points(points: Sequence[Mapping[str, float]]) -> tuple[list[float], list[float]]:
    return [point["k"] for point in points], [point["value"] for point in points]


def _forest(axes: Axes, rows: Sequence[Mapping[str, Any]], *, show_names: bool) -> None:
    axes.axvline(0.0, color=GREY, linewidth=0.9, linestyle="--")
    for position, row in enumerate(rows):
        color, marker = STYLES[row["ranker"]]
        spread = [[max(row["value"] - row["low"], 0.0)], [max(row["high"] - row["value"], 0.0)]]
        axes.errorbar([row["value"]], [position], xerr=spread, fmt=marker, color=color, markersize=5, capsize=2.5)
    names = [LABELS[row["ranker"]] for row in rows]
    axes.set_yticks(range(len(rows)), names if show_names else [""] * len(rows), fontsize=8.5)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    plain_axes(axes)
