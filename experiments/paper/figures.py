"""The figures of the paper's experiments, drawn from stored numbers: thin lines are seeds, thick ones their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from allgood.diagnostics import CURVE_PERCENTILES
from experiments.paper.stored import (
    Metric,
    Result,
    labels_of,
    matched_gains,
    near_target,
    reliable_up_to,
    targets_of,
    tilted_curves,
    trained_curves,
)
from experiments.study.analysis import Curve
from pipelines.output.drawing import PALETTE, save_png

COLOURS = (PALETTE[1], PALETTE[0], *PALETTE[2:], "#8C6D1F", "#7F3C8D")  # raw and log-sigmoid as on the study's page
DPI = 110
GRID = np.linspace(0.0, 4.0, 81)


def frontier_figure(
    results: Sequence[Result], labels: Mapping[str, str], metrics: Mapping[str, Metric], path: Path
) -> None:
    """Metrics against measured KL, one panel each; trained arms."""
    figure, axes = _panels(len(metrics), width=4.0, height=3.6)
    for axis, (title, metric) in zip(axes, metrics.items(), strict=True):
        for colour, (label, words) in zip(COLOURS, labels.items(), strict=False):
            _draw(axis, trained_curves(results, label, metric), colour, words)
        _finish(axis, title)
    axes[0].legend(fontsize=7)
    save_png(figure, path, dpi=DPI)


def tilting_figure(results: Sequence[Result], metrics: Mapping[str, str], path: Path) -> None:
    """Predicted metrics against KL, one panel each, with the trained arms as dots; means over seeds.

    Dashed from the KL on that the samples of some seed no longer support.
    """
    figure, axes = _panels(len(metrics), width=4.6, height=3.8)
    for axis, (title, metric) in zip(axes, metrics.items(), strict=True):
        for colour, label in zip(COLOURS, labels_of(results), strict=False):
            solid = min(reliable_up_to(results, label))
            _mean_line(axis, tilted_curves(results, label, metric), colour, label, solid=solid)
            if metric == "both_good":
                for found in [near_target(results, label, target) for target in targets_of(results)]:
                    axis.plot(
                        np.mean([arm["kl"] for arm in found]),
                        np.mean([arm["both_good_rate"] for arm in found]),
                        marker="o",
                        color=colour,
                    )
        _finish(axis, title)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    save_png(figure, path, dpi=DPI)


def best_of_k_figure(results: Sequence[Result], metrics: Mapping[str, str], path: Path) -> None:
    """Metrics against k, mean over seeds."""
    figure, axes = _panels(len(metrics), width=4.6, height=3.8)
    for axis, (title, metric) in zip(axes, metrics.items(), strict=True):
        for colour, label in zip(COLOURS, labels_of(results), strict=False):
            rows = [result["tilted"][label]["best_of_k"] for result in results]
            ks = [point["k"] for point in rows[0]]
            means = np.mean([[point[metric] for point in row] for row in rows], axis=0)
            axis.plot(ks, means, marker="o", markersize=3, color=colour, label=label)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("k")
        axis.set_title(title, fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    save_png(figure, path, dpi=DPI)


def coefficient_figure(
    results: Sequence[Result], labels: Mapping[str, str], metrics: Mapping[str, Metric], path: Path
) -> None:
    """Metrics against the KL coefficient, one panel each: every arm a dot, a line per seed."""
    figure, axes = _panels(len(metrics), width=4.0, height=3.6)
    for axis, (title, metric) in zip(axes, metrics.items(), strict=True):
        for colour, (label, words) in zip(COLOURS, labels.items(), strict=False):
            for index, result in enumerate(results):
                points = sorted((arm["gamma"], metric(arm)) for arm in result["arms"] if arm["objective"] == label)
                name = words if index == 0 else None
                axis.plot(*zip(*points, strict=True), color=colour, alpha=0.6, marker="o", markersize=3, label=name)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel("KL coefficient gamma")
        axis.set_title(title, fontsize=9)
    axes[0].legend(fontsize=7)
    save_png(figure, path, dpi=DPI)


def improvement_figure(
    panels: Mapping[str, Sequence[Result]], labels: Mapping[str, Mapping[str, str]], path: Path, *, kl: float
) -> None:
    """How the gain in gold over the SFT policy is spread over prompts, at one matched KL: quantile curves."""
    figure, axes = _panels(len(panels), width=4.2, height=3.6)
    for axis, (title, results) in zip(axes, panels.items(), strict=True):
        name = title.split(",")[0]
        for colour, (label, words) in zip(COLOURS, labels[title].items(), strict=False):
            gains = matched_gains(results, label, name, kl)
            if gains is not None:
                axis.plot(CURVE_PERCENTILES, gains, color=colour, label=words)
        axis.axhline(0.0, color="#999999", linewidth=0.8)
        axis.set_xlabel("percentile of the prompts")
        axis.set_ylabel("gain in gold over SFT, nats")
        axis.set_title(title, fontsize=9)
        axis.legend(fontsize=7)
    save_png(figure, path, dpi=DPI)


def _panels(number: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Panels side by side, each of this size in inches."""
    figure = Figure(figsize=(width * number, height), layout="constrained")
    return figure, list(figure.subplots(1, number, squeeze=False)[0])


def _draw(axis: Axes, curves: Sequence[Curve], colour: str, label: str) -> None:
    for found in curves:
        axis.plot(found.kls, found.values, color=colour, alpha=0.25, linewidth=0.9)
    _mean_line(axis, curves, colour, label)


def _mean_line(axis: Axes, curves: Sequence[Curve], colour: str, label: str, *, solid: float = np.inf) -> None:
    """Mean over seeds where every seed reaches the KL; dashed beyond `solid`."""
    points = [(kl, [found.at(float(kl)) for found in curves]) for kl in GRID]
    known = [(kl, np.mean([v for v in values if v is not None])) for kl, values in points if None not in values]
    firm = [point for point in known if point[0] <= solid]
    beyond = [point for point in known if point[0] > solid]
    axis.plot([], [], color=colour, linewidth=2.0, label=label)  # in the legend, whatever the line looks like
    for part, style in ((firm, "-"), ([*firm[-1:], *beyond], "--")):
        if len(part) > 1:
            axis.plot(*zip(*part, strict=True), color=colour, linewidth=2.0, linestyle=style)


def _finish(axis: Axes, title: str) -> None:
    axis.set_xlabel("KL to the SFT policy, nats")
    axis.set_title(title, fontsize=9)
