"""The two figures of the check: predicted against achieved, and KL and utility while training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipelines.output.drawing import GREY, MARKERS, PALETTE, plain_axes, png_bytes

Entry = dict[str, Any]
_DPI = 130


def predicted_and_achieved(entries: Sequence[Entry]) -> bytes:
    """KL, gold win rate and both-good rate: achieved over predicted, with two standard errors over prompts."""
    settings, targets = _axes_of(entries)
    metrics = {"kl": "KL [nats]", "gold_win_rate": "gold win rate", "both_good": "both good, by gold"}
    figure = Figure(figsize=(12.5, 4.6), layout="constrained")
    for axes, (metric, label) in zip(figure.subplots(1, len(metrics)), metrics.items(), strict=True):
        for entry in entries:
            colour = PALETTE[settings.index(entry["label"]) % len(PALETTE)]
            sides = [np.array(entry[side]["by_prompt"][metric]) for side in ("predicted", "achieved")]
            errors = [2 * side.std(ddof=1) / np.sqrt(len(side)) for side in sides]
            axes.errorbar(
                sides[0].mean(),
                sides[1].mean(),
                yerr=errors[1],
                fmt=MARKERS[targets.index(entry["target_kl"]) % len(MARKERS)],
                color=colour,
                markersize=6,
                linewidth=0.8,
                capsize=2,
            )
        low, high = min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--", zorder=0)
        axes.set(xlabel=f"predicted {label}", ylabel=f"achieved {label}", aspect="equal")
        plain_axes(axes)
    handles = [_mark(PALETTE[i % len(PALETTE)], "o", label) for i, label in enumerate(settings)]
    handles += [_mark(GREY, MARKERS[i % len(MARKERS)], f"target {kl:g} nats") for i, kl in enumerate(targets)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def convergence(entries: Sequence[Entry]) -> bytes:
    """KL and gain in utility on validation prompts over steps, one column per target; grey: the last quarter."""
    settings, targets = _axes_of(entries)
    figure = Figure(figsize=(4.0 * len(targets), 5.6), layout="constrained")
    grid = figure.subplots(2, len(targets), squeeze=False)
    for column, target in enumerate(targets):
        for entry in [entry for entry in entries if entry["target_kl"] == target]:
            index = settings.index(entry["label"])
            steps = [0, *(point["step"] for point in entry["curve"])]
            kls = [0.0, *(point["kl"] for point in entry["curve"])]
            gains = [0.0, *(point["utility"] - entry["sft_validation_utility"] for point in entry["curve"])]
            style = {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)], "markersize": 3.5}
            for axes, values in zip(grid[:, column], (kls, gains), strict=True):
                axes.plot(steps, values, linewidth=1.2, **style)
                axes.axvspan(0.75 * steps[-1], steps[-1], color="#eeeeee", zorder=0)
        grid[0, column].set_title(f"target {target:g} nats", fontsize=10)
        grid[0, column].axhline(target, color=GREY, linewidth=1, linestyle="--")
        grid[1, column].set_xlabel("step")
        for axes in grid[:, column]:
            plain_axes(axes)
    grid[0, 0].set_ylabel("KL [nats]")
    grid[1, 0].set_ylabel("gain in own utility [nats]")
    handles = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], marker=MARKERS[i % len(MARKERS)], markersize=4, label=label)
        for i, label in enumerate(settings)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def _axes_of(entries: Sequence[Entry]) -> tuple[list[str], list[float]]:
    return list(dict.fromkeys(entry["label"] for entry in entries)), sorted({entry["target_kl"] for entry in entries})


def _mark(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=label)
