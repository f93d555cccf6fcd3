"""The figure of the study: all-good rate against KL, as predicted and as trained, at both points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from experiments.open_world.analysis import all_good, prediction_of
from experiments.open_world.design import LABELS, LSC, Point
from experiments.open_world.stored import Seed
from pipelines.output.drawing import PALETTE, png_bytes

COLOURS = dict(zip(LABELS, PALETTE, strict=False))
TITLES: Mapping[Point, str] = {
    "strong": "strong: wide, different spreads; a few answers overrated",
    "weak": "weak: narrow, noisy rewards",
}


def curves_figure(points: Mapping[Point, Sequence[Seed]]) -> bytes:
    """A panel per point: predicted as lines (mean over seeds), trained as dots (one per run)."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    for axis, (point, seeds) in zip(figure.subplots(1, 2), points.items(), strict=True):
        for name in LABELS:
            _predicted(axis, seeds, name)
            _trained(axis, seeds, name)
        axis.set(title=TITLES[point], xlabel="KL to the start policy, nats", ylabel="all-good rate", ylim=(0, None))
        _log_scale(axis)
        if not seeds:
            axis.text(0.5, 0.5, "not predicted yet", transform=axis.transAxes, ha="center")
    axes = figure.axes[0]
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, title="lines: predicted; dots: trained")
    return png_bytes(figure, dpi=120)


def _predicted(axis: Axes, seeds: Sequence[Seed], name: str) -> None:
    kls = sorted(
        {float(arm["target_kl"]) for seed in seeds for arm in seed.predictions["arms"] if arm["objective"] == name}
    )
    points = []
    for kl in kls:
        found = [one for seed in seeds if (one := prediction_of(seed, name, kl)) is not None]
        if found:
            points.append((kl, float(np.mean([one["predicted"]["all_good"][0] for one in found]))))
    if points:
        width = 2.4 if name == LSC else 1.2
        axis.plot(*zip(*points, strict=True), color=COLOURS[name], linewidth=width, label=LABELS[name])


def _trained(axis: Axes, seeds: Sequence[Seed], name: str) -> None:
    arms = [arm for seed in seeds for arm in seed.arms.values() if arm["objective"] == name]
    kls = [float(arm["kl"]) for arm in arms]
    axis.scatter(kls, [float(np.mean(all_good(arm))) for arm in arms], color=COLOURS[name], s=18, zorder=3)


def _log_scale(axis: Axes) -> None:
    """Runs that lost what they had end far to the right."""
    ticks = [0.5, 1, 2, 4, 8, 16, 32]
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(0.4, 60)
