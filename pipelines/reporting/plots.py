"""Plots of a report, as PNG bytes: colour-blind safe (Okabe-Ito), every line also marked, axes with units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from pipelines.output.drawing import GREY, MARKERS, PALETTE, plain_axes, png_bytes

_DPI = 150


@dataclass(frozen=True)
class Point:
    """A value with its interval at a position on the x axis."""

    x: float
    value: float
    low: float
    high: float
    label: str = ""


@dataclass(frozen=True)
class Series:
    """A named line: y over x."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """One small plot of a grid."""

    title: str
    y_label: str
    series: Sequence[Series] = field(default_factory=tuple)


@dataclass(frozen=True)
class Pair:
    """A predicted and an achieved point, each (KL, rate), of a member of `group`."""

    group: str
    predicted: tuple[float, float]
    achieved: tuple[float, float]


def overlay(pairs: Sequence[Pair]) -> bytes:
    """Predicted points hollow, achieved points filled, a thin line between the two of a pair; on validation prompts."""
    figure = Figure(figsize=(6.8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0.5, color=GREY, linewidth=1.0, linestyle="--")
    for index, group in enumerate(dict.fromkeys(pair.group for pair in pairs)):
        members = [pair for pair in pairs if pair.group == group]
        for pair in members:
            axes.plot(*zip(pair.predicted, pair.achieved, strict=True), color=_color(index), linewidth=0.7, alpha=0.6)
        color, marker = _color(index), _marker(index)
        for points, filled in (([p.predicted for p in members], False), ([p.achieved for p in members], True)):
            axes.plot(
                *zip(*points, strict=True),
                linestyle="none",
                marker=marker,
                markersize=6,
                color=color,
                markerfacecolor=color if filled else "none",
                label=group if filled else None,
                clip_on=False,  # points on the edge stay whole
                zorder=3,
            )
    axes.set(xlabel="KL(policy ‖ π0) on validation prompts [nats per response]", ylabel="win rate against π0")
    axes.set_xlim(left=0.0)
    plain_axes(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def frontier(groups: Mapping[str, Sequence[Point]], *, y_label: str, baseline: tuple[str, float] | None) -> bytes:
    """Rate against KL with 95 % intervals, one line per objective; `baseline` is a level to compare with."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    if baseline is not None:
        axes.axhline(baseline[1], label=baseline[0], color=GREY, linewidth=1.0, linestyle="--")
    for index, (name, points) in enumerate(groups.items()):
        ordered = sorted(points, key=lambda point: point.x)
        values = np.array([point.value for point in ordered])
        errors = np.array([[point.value - point.low, point.high - point.value] for point in ordered]).T
        axes.errorbar(
            [point.x for point in ordered],
            values,
            yerr=np.maximum(errors, 0.0),
            color=_color(index),
            marker=_marker(index),
            markersize=6,
            linewidth=1.6,
            capsize=3,
            label=name,
        )
        for point in ordered:
            axes.annotate(
                point.label,
                (point.x, point.value),
                xytext=(7, -12) if index % 2 == 0 else (-7, 8),  # alongside a rising line, not on it
                ha="left" if index % 2 == 0 else "right",
                textcoords="offset points",
                fontsize=7.5,
                color=_color(index),
                path_effects=[withStroke(linewidth=3, foreground="white")],  # readable where a line runs below it
                zorder=5,
            )
    axes.set(xlabel="KL(policy ‖ π0) on test prompts [nats per response]", ylabel=y_label)
    farthest = max(point.x for points in groups.values() for point in points)
    axes.set_xlim(0.0, 1.15 * max(farthest, 0.1))
    plain_axes(axes)
    axes.legend(loc="best", fontsize=8, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def forest(rows: Mapping[str, Mapping[str, Point]], *, x_label: str, reference: float | None = None) -> bytes:
    """Rates with intervals, one row per quantity, one mark per policy. `rows[quantity][policy]`."""
    policies = list(dict.fromkeys(policy for by_policy in rows.values() for policy in by_policy))
    figure = Figure(figsize=(6.8, 1.1 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    if reference is not None:
        axes.axvline(reference, color=GREY, linewidth=1.0, linestyle="--")
    for index, policy in enumerate(policies):
        shown = [(row, by_policy[policy]) for row, by_policy in enumerate(rows.values()) if policy in by_policy]
        offset = 0.22 * (index - (len(policies) - 1) / 2)
        axes.errorbar(
            [point.value for _, point in shown],
            [row + offset for row, _ in shown],
            xerr=np.maximum(np.array([[p.value - p.low, p.high - p.value] for _, p in shown]).T, 0.0),
            fmt=_marker(index),
            color=_color(index),
            markersize=6,
            capsize=3,
            label=policy,
        )
    axes.set_yticks(range(len(rows)), list(rows), fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(x_label)
    axes.set_xlim(-0.02, 1.02)
    plain_axes(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def bars(groups: Mapping[str, Mapping[str, float]], *, y_label: str) -> bytes:
    """Grouped bars: `groups[policy][quantity]`, all shares."""
    quantities = list(dict.fromkeys(name for values in groups.values() for name in values))
    figure = Figure(figsize=(max(6.4, 1.2 + 0.28 * len(groups) * len(quantities)), 3.8), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(groups)
    for index, (policy, values) in enumerate(groups.items()):
        positions = np.arange(len(quantities)) + (index - (len(groups) - 1) / 2) * width
        heights = [values.get(name, np.nan) for name in quantities]
        drawn = axes.bar(positions, heights, width * 0.92, color=_color(index), label=policy, hatch=_hatch(index))
        if len(groups) <= 3:
            axes.bar_label(drawn, fmt="%.2f", fontsize=7, padding=1)
    axes.set_xticks(np.arange(len(quantities)), quantities)
    axes.set_ylabel(y_label)
    axes.set_ylim(0, 1.1 * max(0.05, np.nanmax([v for values in groups.values() for v in values.values()])))
    plain_axes(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def curves(panels: Sequence[Panel], *, x_label: str) -> bytes:
    """A grid of small line plots that share the x axis and one legend below."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.5 * columns, 2.5 * rows + 0.5), layout="constrained")
    names = list(dict.fromkeys(series.name for panel in panels for series in panel.series))
    for position, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, position + 1)
        for series in panel.series:
            index = names.index(series.name)
            every = max(1, len(series.x) // 8)
            axes.plot(
                series.x,
                series.y,
                color=_color(index),
                marker=_marker(index),
                markevery=every,
                markersize=4,
                linewidth=1.4,
                label=series.name,
            )
        axes.set_title(panel.title, fontsize=9)
        axes.set_ylabel(panel.y_label, fontsize=8)
        axes.set_xlabel(x_label, fontsize=8)
        axes.tick_params(labelsize=7.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        values = [y for series in panel.series for y in series.y]
        if min(values) == max(values):  # else the axis would show a hair's breadth around a constant
            axes.set_ylim(values[0] - 0.5, values[0] + 0.5)
        plain_axes(axes)
    if len(names) > 1:
        shown = [axes.get_legend_handles_labels() for axes in figure.axes]
        handles = {label: handle for found, labels in shown for handle, label in zip(found, labels, strict=True)}
        columns = min(4, len(handles))
        figure.legend(
            handles=list(handles.values()), loc="outside lower center", ncols=columns, fontsize=8, frameon=False
        )
    return png_bytes(figure, dpi=_DPI)


def quantile_curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], *, y_label: str
) -> bytes:
    """Gains by percentile of prompts: `panels[title][policy] = (percentiles, gains)`; flat is uniform improvement."""
    drawn = [
        Panel(title, y_label, [Series(policy, x, y) for policy, (x, y) in by_policy.items()])
        for title, by_policy in panels.items()
    ]
    return curves(drawn, x_label="prompts, worst to best [percentile]")


def _color(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def _marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def _hatch(index: int) -> str:
    return ("", "//", "..", "xx", "\\\\", "--", "++", "oo")[index % 8]
