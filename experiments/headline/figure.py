"""The two panels, drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from allgood.idealised.cells import TARGET_KLS
from experiments.headline.shown import Panel
from pipelines.output.drawing import GREY, MARKERS, PALETTE, plain_axes, png_bytes


def headline_figure(panels: Sequence[Panel]) -> bytes:
    """Gains over a raw sum against KL, on one scale."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        _draw(axes, panel)
        axes.set_title(panel.title, fontsize=11)
    figure.axes[0].set_ylabel("share of all-good answers\nminus that of the raw sum", fontsize=10)
    return png_bytes(figure, dpi=110)


def _draw(axes: Axes, panel: Panel) -> None:
    axes.axhline(0, color=GREY, linewidth=1)
    for index, line in enumerate(panel.lines):
        kls, gains = zip(*line.points, strict=True)
        colour, style = (GREY, "--") if line.is_rival else (PALETTE[index], "-")
        axes.plot(kls, gains, style, color=colour, marker=MARKERS[index], markersize=4, linewidth=1.6, label=line.label)
    for index, trained in enumerate(panel.trained):
        kls, means, lows, highs = np.array(trained.points).T
        spread = np.stack([means - lows, highs - means])
        axes.errorbar(
            kls,
            means,
            spread,
            fmt="s",
            markersize=5,
            color="black",
            markerfacecolor="black" if index == 0 else "white",
            capsize=3,
            label=trained.label,
        )
    axes.set_xscale("log")
    axes.set_xticks(TARGET_KLS, [f"{kl:g}" for kl in TARGET_KLS])
    axes.minorticks_off()
    axes.set_xlabel("KL to the start policy, nats", fontsize=10)
    plain_axes(axes)
    axes.legend(fontsize=8.5, frameon=False, loc="upper left")
