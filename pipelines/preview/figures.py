"""The plots of a preview: PNGs for documents, and one to point at. Hollow marks: the samples do not support that KL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.offline import get_plotlyjs

from pipelines.output.drawing import GREY, MARKERS, PALETTE, plain_axes, png_bytes
from pipelines.preview.rows import Row
from pipelines.preview.summary import METRIC_NAMES, setting_name

_DPI = 150
_KL_LABEL = "predicted KL(policy ‖ π0) [nats per response]"
_MAX_FAMILIES = len(PALETTE) - 1  # colours that can be told apart; further objectives share the last, grey


def frontier_png(rows: Sequence[Row], front: Sequence[Row], metric: str, baseline: float) -> bytes:
    """Every setting: `metric` over KL, coloured by objective; the Pareto front, and the run file's own setting."""
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(baseline, color=GREY, linewidth=1.0, linestyle="--", label="π0")
    for index, (family, chosen) in enumerate(_families(rows).items()):
        colour = PALETTE[min(index, _MAX_FAMILIES)]
        for reliable in (True, False):
            shown = [row for row in chosen if row["reliable"] == reliable]
            axes.scatter(
                [row["kl"] for row in shown],
                [row[metric] for row in shown],
                s=14,
                marker=MARKERS[min(index, _MAX_FAMILIES)],
                facecolors=colour if reliable else "none",
                edgecolors=colour,
                linewidths=0.7,
                alpha=0.75,
                label=family if reliable or not any(row["reliable"] for row in chosen) else None,
            )
    if front:
        axes.plot(
            [row["kl"] for row in front], [row[metric] for row in front], color="black", lw=1.3, label="Pareto front"
        )
    own = by_kl(row for row in rows if row["is_own"] and row["method"] == "tilt")
    axes.plot(
        [row["kl"] for row in own], [row[metric] for row in own], color="black", lw=1, ls=":", label="run file's own"
    )
    axes.set(xlabel=_KL_LABEL, ylabel=METRIC_NAMES.get(metric, metric))
    plain_axes(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7.5, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def trade_off_png(rows: Sequence[Row], metrics: tuple[str, str], targets: Sequence[float]) -> bytes:
    """What one property costs the other: two metrics against each other, one panel per target KL; at least one."""
    columns = min(3, len(targets))
    figure = Figure(figsize=(3.3 * columns, 3.1 * -(-len(targets) // columns)), layout="constrained")
    families = list(_families(rows))
    for position, target in enumerate(targets):
        axes = figure.add_subplot(-(-len(targets) // columns), columns, position + 1)
        at_target = [row for row in rows if row["target_kl"] == target]
        for row in at_target:
            index = min(families.index(_family(row)), _MAX_FAMILIES)
            axes.scatter(
                row[metrics[0]],
                row[metrics[1]],
                s=18,
                marker=MARKERS[index],
                facecolors=PALETTE[index] if row["reliable"] else "none",
                edgecolors=PALETTE[index],
                linewidths=0.7,
            )
        supported = any(row["reliable"] for row in at_target)
        axes.set_title(f"KL {target:g}" + ("" if supported else " (too few samples)"), fontsize=9)
        axes.set_xlabel(_words(metrics[0]), fontsize=8)
        axes.set_ylabel(_words(metrics[1]), fontsize=8)
        axes.tick_params(labelsize=7.5)
        plain_axes(axes)
    return png_bytes(figure, dpi=_DPI)


def shortcuts_png(series: Mapping[str, Sequence[Row]], baseline: Mapping[str, float]) -> bytes:
    """Shortcut rates over KL for a few settings, from the start policy's rate on."""
    names = [name for name in baseline if name.startswith("shortcut.")]
    figure = Figure(figsize=(3.0 * min(3, len(names)), 2.6 * -(-len(names) // 3) + 0.5), layout="constrained")
    for position, name in enumerate(names):
        axes = figure.add_subplot(-(-len(names) // 3), min(3, len(names)), position + 1)
        for index, (label, rows) in enumerate(series.items()):
            axes.plot(
                [0.0, *(row["kl"] for row in rows)],
                [baseline[name], *(row[name] for row in rows)],
                color=PALETTE[index % len(PALETTE)],
                marker=MARKERS[(index + index // len(PALETTE)) % len(MARKERS)],  # another one when colours repeat
                markersize=4,
                linewidth=1.3,
                label=label,
            )
        axes.set_title(name.removeprefix("shortcut.").replace("_", " "), fontsize=9)
        axes.set_xlabel("predicted KL [nats]", fontsize=8)
        axes.tick_params(labelsize=7.5)
        plain_axes(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1, fontsize=7.5, frameon=False)
    return png_bytes(figure, dpi=_DPI)


def interactive(rows: Sequence[Row], front: Sequence[Row], metrics: Mapping[str, str]) -> str:
    """Every setting over KL, to point at; a menu chooses what is shown upwards. One div, Plotly itself included.

    `metrics` maps columns to their names in the menu; the first is shown at the start.
    """
    traces, columns = [], []
    for index, (family, chosen) in enumerate(_families(rows).items()):
        colour = PALETTE[min(index, _MAX_FAMILIES)]
        marker = {
            "color": colour,
            "size": 7,
            "symbol": [_symbol(row) for row in chosen],
            "line": {"color": colour, "width": 1.2},
        }
        hover = [_hover(row) for row in chosen]
        trace = go.Scatter(x=[row["kl"] for row in chosen], mode="markers", name=escape(family), marker=marker)
        traces.append(trace.update(text=hover, hovertemplate="%{text}<br>%{y:.3f}<extra></extra>"))
        columns.append(chosen)
    line = {"color": GREY, "width": 1.5}
    name = f"Pareto front by {metrics[next(iter(metrics))]}"  # whatever metric is shown later
    traces.append(go.Scatter(x=[row["kl"] for row in front], mode="lines", name=name, line=line, hoverinfo="skip"))
    columns.append(list(front))

    def shown(metric: str) -> list[list[Any]]:
        return [[row.get(metric) for row in chosen] for chosen in columns]

    first = next(iter(metrics))
    for trace, values in zip(traces, shown(first), strict=True):
        trace.y = values
    buttons = [
        {"label": label, "method": "update", "args": [{"y": shown(metric)}, {"yaxis.title.text": label}]}
        for metric, label in metrics.items()
    ]
    figure = go.Figure(traces)
    figure.update_layout(
        template="plotly_white",
        height=560,
        margin={"t": 60, "r": 10, "b": 50, "l": 60},
        xaxis_title=_KL_LABEL,
        yaxis_title=metrics[first],
        legend={"title": {"text": "objective"}},
        updatemenus=[{"buttons": buttons, "x": 0.0, "xanchor": "left", "y": 1.14, "yanchor": "top"}],
    )
    div = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True})
    return f"<script>{get_plotlyjs()}</script>{div}"


def by_kl(rows: Iterable[Row]) -> list[Row]:
    """Rows as points of a line: levels are asked for as target KLs first, then as coefficients."""
    return sorted(rows, key=lambda row: row["kl"])


def _words(column: str) -> str:
    return column.replace("_", " ").replace(".", ": ")


def _symbol(row: Row) -> str:
    shape = "diamond" if row["method"] == "best_of_k" else "circle"
    return shape if row["reliable"] else f"{shape}-open"


def _hover(row: Row) -> str:
    level = f"best of {row['k']}" if row["method"] == "best_of_k" else f"γ {row['gamma']:.4g}"
    words = [setting_name(row).replace("; ", "\n"), f"KL {row['kl']:.2f}, {level}"]
    words += [] if row["reliable"] else ["too few samples for this KL"]
    return escape("\n".join(words)).replace("\n", "<br>")


def _families(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by what is maximised, in order of appearance."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(_family(row), []).append(row)
    return found


def _family(row: Row) -> str:
    """A formula by its words; objectives with numbers in them, such as weighted sums, by their kind."""
    name = row["objective"] if row["objective_kind"] == "formula" else row["objective_kind"].replace("_", " ")
    return f"{name} ({row['transform']})"
