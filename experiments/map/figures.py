"""The figures of the map, from stored numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from allgood.idealised.cells import BARS, TARGET_KLS, Cell, ErrorKind, Errors, along
from allgood.idealised.measures import best_rate
from allgood.idealised.objectives import CANDIDATES, CAPPED, LSC, MINIMUM, PAR, RAW, Z_SCORE
from experiments.map import groups
from experiments.map.real import SMALL, Mark
from experiments.map.stored import Map, at_kl
from pipelines.output.drawing import GREY, MARKERS, PALETTE, plain_axes, png_bytes

Floats = NDArray[np.float64]

_DPI = 100
_LARGEST = 0.4  # of the colour scale; larger differences have its last colour
DRAWN = (RAW, Z_SCORE, CAPPED, LSC, PAR, MINIMUM)


@dataclass(frozen=True)
class Slice:
    """A panel of a heat map: cells along one coordinate."""

    title: str
    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    values: tuple[float, ...] = ()
    """Of the coordinate, where it is a number; measured ones can be marked there."""


def curves_figure(found: Map) -> bytes:
    """All-good rate against KL in the four worlds, with the most that any policy could reach."""
    figure = Figure(figsize=(13, 3.7), layout="constrained")
    panels = figure.subplots(1, len(groups.WORLDS), sharey=True)
    for axes, (title, cell) in zip(panels, groups.WORLDS.items(), strict=True):
        for index, objective in enumerate(DRAWN):
            axes.plot(
                TARGET_KLS,
                found.all_good(cell, objective),
                color=PALETTE[index],
                marker=MARKERS[index],
                markersize=4,
                linewidth=1.4,
                label=f"{objective}, tuned" if len(CANDIDATES[objective]) > 1 else objective,
            )
        _bound(axes, found.before(cell))
        axes.set_title(title, fontsize=10)
        _kl_axis(axes)
    return _rates_png(figure, panels, columns=7, fontsize=8.5)


def properties_figure(found: Map) -> bytes:
    """The same against the share of the KL that all-good would need at least, for 1 to 5 properties."""
    figure = Figure(figsize=(11, 3.7), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    worlds = {"alike": groups.PLAIN, "different spreads": groups.DIFFERENT, "1 % overrated": groups.RARE}
    for axes, (title, world) in zip(panels, worlds.items(), strict=True):
        for index, num in enumerate(groups.PROPERTIES):
            cell = replace(world, properties=num)
            share = np.array(TARGET_KLS) / -np.log(found.before(cell))
            for objective, line in ((RAW, ":"), (LSC, "-")):
                label = f"{num}, {objective}"
                axes.plot(share, found.all_good(cell, objective), line, color=PALETTE[index], label=label)
        axes.set_xscale("log")
        axes.axvline(1, color=GREY, linewidth=0.8)
        axes.set_xlabel("KL / -log P0(all good)", fontsize=9)
        axes.set_title(title, fontsize=10)
        plain_axes(axes)
    return _rates_png(figure, panels, columns=8, fontsize=8)


def slices_figure(
    found: Map, first: str, second: Sequence[str], title: str, marks: Mapping[str, Sequence[Mark]]
) -> bytes:
    """All-good rate of `first` minus the best of `second`, over KL and one coordinate per panel; `marks` by panel."""
    panels, columns = slices(), 4
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.5 * rows), layout="constrained")
    grid_of_axes = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid_of_axes.flat, panels, strict=False):
        differences, trusted = zip(*(difference(found, cell, first, second) for cell in panel.cells), strict=True)
        image = _image(axes, np.array(differences), np.array(trusted))
        axes.set_xticks(range(len(TARGET_KLS)), [f"{kl:g}" for kl in TARGET_KLS], fontsize=7.5)
        axes.set_yticks(range(len(panel.names)), panel.names, fontsize=7.5)
        axes.set_title(panel.title, fontsize=8.5)
        for place, mark in enumerate(marks.get(panel.title, ())):
            _draw_mark(axes, panel.values, mark, place)
    figure.supxlabel("KL, nats", fontsize=9)
    figure.suptitle(title, fontsize=11)
    measured = {
        label: line for axes in grid_of_axes.flat for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if measured:
        figure.legend(
            measured.values(),
            [f"measured: {label}" for label in measured],
            loc="outside lower left",
            ncols=2,
            fontsize=8,
        )
    figure.colorbar(image, ax=grid_of_axes, shrink=0.3, aspect=30, pad=0.01, label="difference of all-good rates")
    return png_bytes(figure, dpi=_DPI)


def bars_figure(found: Map) -> bytes:
    """LSC sum minus raw sum for bars and references, at 1, 2 and 4 nats, in the four worlds."""
    kls = (1.0, 2.0, 4.0)
    figure = Figure(figsize=(9.5, 11), layout="constrained")
    panels = figure.subplots(len(groups.WORLDS), len(kls), squeeze=False)
    for row, (name, world) in zip(panels, groups.WORLDS.items(), strict=True):
        for axes, kl in zip(row, kls, strict=True):
            grid = np.array(
                [
                    [_at(found, replace(world, reference=reference), bar, kl) for bar in BARS]
                    for reference in groups.REFERENCES
                ]
            )
            image = _image(axes, grid, np.ones_like(grid, dtype=bool))
            axes.set_xticks(range(len(BARS)), [f"{bar:.0%}" for bar in BARS], fontsize=8)
            axes.set_yticks(range(len(groups.REFERENCES)), [f"{q:.0%}" for q in groups.REFERENCES], fontsize=8)
            axes.set_title(f"{name}, KL {kl:g}", fontsize=9)
    figure.supxlabel("bar that makes a response good (quantile of gold)", fontsize=9)
    figure.supylabel("reference of the LSC sum (quantile of rewards)", fontsize=9)
    figure.colorbar(image, ax=panels, shrink=0.4, label="LSC sum minus raw sum, all-good rate")
    return png_bytes(figure, dpi=_DPI)


def difference(found: Map, cell: Cell, first: str, second: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
    """All-good rate of `first` minus the best of `second`, [targets], and whether all of them are trusted."""
    rival = np.max([found.all_good(cell, name) for name in second], axis=0)
    trusted = np.all([found.is_trusted(cell, name) for name in (first, *second)], axis=0)
    return found.all_good(cell, first) - rival, trusted


def slices() -> tuple[Slice, ...]:
    """The panels of the heat maps."""
    rare, different = groups.RARE, groups.DIFFERENT

    def through(title: str, world: Cell, coordinate: str, values: Sequence[float | None]) -> Slice:
        names = tuple("none" if value is None else f"{value:g}" for value in values)
        numbers = tuple(value for value in values if value is not None)
        return Slice(title, names, along(world, coordinate, values), numbers if len(numbers) == len(values) else ())

    def by_error(title: str, world: Cell, errors: Sequence[Errors], names: Sequence[str]) -> Slice:
        return Slice(title, tuple(names), tuple(replace(world, errors=error) for error in errors))

    def wrong_scale(title: str, error: Errors) -> Slice:
        cells = tuple(groups.wrong_scale(factor, error) for factor in groups.SCALES)
        return Slice(title, tuple(f"x {factor:g}" for factor in groups.SCALES), cells)

    normal = [Errors("normal", size) for size in groups.NORMAL_SIZES]
    shared = [replace(error, shared=True) for error in normal]
    sizes = [f"{size:g}" for size in groups.NORMAL_SIZES]
    laplace = [Errors("laplace", size) for size in groups.LAPLACE_SIZES]
    overrated = [Errors("overrated", 4, rate) for rate in groups.RATES]
    shares = [f"{rate:.1%}" for rate in groups.RATES]
    kinds: tuple[ErrorKind, ...] = ("overrated", "underrated")
    few = [Errors(kind, 4, rate, shared=True) for kind in kinds for rate in (0.01, 0.1)]
    plain = groups.PLAIN
    return (
        through("spread between prompts (sigma)", plain, "between_prompts", groups.SIGMAS),
        through("spread by prompt and property (sigma)", plain, "mixed", groups.SIGMAS),
        through("the same, sigma 1 between prompts", Cell(between_prompts=1.0), "mixed", groups.GRID_SIGMAS),
        through("spread between properties (ratio)", plain, "ratio", groups.RATIOS),
        through("spread of rewards (nats)", plain, "spread", groups.SPREADS),
        through("spread of rewards, 1 % overrated", rare, "spread", groups.SPREADS),
        wrong_scale("one reward model of two scaled", Errors()),
        wrong_scale("the same, 1 % overrated", groups.OVERRATED),
        replace(by_error("normal error (spreads)", plain, normal, sizes), values=groups.NORMAL_SIZES),
        by_error("normal error, shared", plain, shared, sizes),
        by_error("Laplace error (spreads)", plain, laplace, [f"{size:g}" for size in groups.LAPLACE_SIZES]),
        by_error("share overrated by 2 to 6 spreads", plain, overrated, shares),
        by_error("errors of few, in both at once", plain, few, ["1 % over", "10 % over", "1 % under", "10 % under"]),
        by_error(
            "errors, different spreads",
            different,
            groups.ERRORS_OF_DIFFERENT,
            ["normal 0.5", "normal 1", "Laplace 0.5", "10 % over", "10 % under"],
        ),
        through("correlation of the properties", plain, "correlation", groups.CORRELATIONS),
        through("correlation, 1 % overrated", rare, "correlation", groups.CORRELATIONS),
        through("ceiling of gold above the bar", plain, "ceiling", groups.CEILINGS),
        through("ceiling, 1 % overrated", rare, "ceiling", groups.CEILINGS),
        through("number of properties", plain, "properties", groups.PROPERTIES),
        through("number of properties, 1 % overrated", rare, "properties", groups.PROPERTIES),
    )


def _draw_mark(axes: Axes, values: Sequence[float], mark: Mark, place: int) -> None:
    """A bar at the left of the panel, over the rows of what was measured; ends beyond the panel are cut."""
    rows = np.interp([mark.low, mark.high], values, np.arange(len(values)))
    colour = PALETTE[4] if mark.label == SMALL else "black"
    axes.plot([-0.42 + 0.12 * place] * 2, rows, color=colour, linewidth=3, marker="_", markersize=5, label=mark.label)


def _rates_png(figure: Figure, panels: Sequence[Axes], *, columns: int, fontsize: float) -> bytes:
    """The figure with its rates named at the left, and below it the one legend of all panels."""
    panels[0].set_ylabel("all-good rate (bar: 85 % quantile)", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=fontsize, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def _image(axes: Axes, values: Floats, trusted: NDArray[np.bool_]) -> AxesImage:
    """Cells with their numbers, in hundredths; those that are not trusted are hatched and have none."""
    image = axes.imshow(values, cmap="RdBu", vmin=-_LARGEST, vmax=_LARGEST, aspect="auto")
    for (row, column), number in np.ndenumerate(values):
        if trusted[row, column]:
            colour = "white" if abs(number) > 0.6 * _LARGEST else "black"
            text = f"{100 * number:+.0f}" if abs(number) >= 0.005 else "0"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
        else:
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor="white", edgecolor=GREY, hatch="////", linewidth=0))
    return image


def _at(found: Map, cell: Cell, bar: float, kl: float) -> float:
    return at_kl(found.all_good(cell, LSC, bar=bar) - found.all_good(cell, RAW, bar=bar), kl)


def _bound(axes: Axes, before: float) -> None:
    kls = np.geomspace(TARGET_KLS[0], TARGET_KLS[-1], 60)
    axes.plot(kls, [best_rate(before, kl) for kl in kls], "--", color=GREY, linewidth=1, label="ceiling")


def _kl_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xticks(TARGET_KLS, [f"{kl:g}" for kl in TARGET_KLS])
    axes.minorticks_off()
    axes.set_xlabel("KL, nats", fontsize=9)
    axes.set_ylim(0, 1.02)
    plain_axes(axes)
