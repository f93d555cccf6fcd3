"""The frontier as a figure: one small plot per quantity over k, with 95 % intervals."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from pipelines.best_of_k.frontier import Frontier
from pipelines.output.drawing import GREY, PALETTE, plain_axes, png_bytes

PANEL_WIDTH, PANEL_HEIGHT = 3.6, 2.9  # inches
COLUMNS = 3
LABELS = {"utility": "combined utility [nats]", "words": "words per response"}


def frontier_figure(found: Frontier, *, title: str) -> bytes:
    """A PNG of every quantity of the frontier."""
    names = list(found.steps[0].values)
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(PANEL_WIDTH * columns, PANEL_HEIGHT * rows + 0.5), layout="constrained")
    for position, name in enumerate(names):
        _panel(figure.add_subplot(rows, columns, position + 1), found, name, PALETTE[position % len(PALETTE)])
    figure.suptitle(f"{title} ({found.num_prompts} prompts)", fontsize=11)
    return png_bytes(figure, dpi=130)


def _panel(axes: Axes, found: Frontier, name: str, color: str) -> None:
    steps = [step for step in found.steps if name in step.values]
    ks = [step.k for step in steps]
    estimates = [step.values[name] for step in steps]
    axes.plot(ks, [estimate.value for estimate in estimates], color=color, marker="o", markersize=3.5, linewidth=1.5)
    axes.fill_between(
        ks, [estimate.low for estimate in estimates], [estimate.high for estimate in estimates], color=color, alpha=0.2
    )
    axes.axhline(estimates[0].value, color=GREY, linewidth=0.9, linestyle="--")
    axes.set_title(_label(name), fontsize=9.5)
    axes.set_xlabel("k (best of k)", fontsize=8.5)
    log_k_axis(axes, max(ks))


def log_k_axis(axes: Axes, max_k: int) -> None:
    """A logarithmic axis for k, labelled at powers of two."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([2**power for power in range(max_k.bit_length())]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.tick_params(labelsize=8)
    plain_axes(axes)


def _label(name: str) -> str:
    kind, _, of = name.partition(".")
    known = {"p_good": f"P(good) of {of}", "reward": f"reward of {of}", "gold": f"gold of {of}"}
    return LABELS.get(name, known.get(kind, name) if of else name)
