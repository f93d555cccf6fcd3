"""What all our figures share: colours and marks that the colour-blind can tell apart, plain axes, and PNGs."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.output.files import atomic_path

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")  # Okabe and Ito
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#6b6b6b"


def plain_axes(axes: Axes) -> None:
    """A light grid, and no frame above and to the right."""
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def png_bytes(figure: Figure, *, dpi: int) -> bytes:
    """The figure as a PNG on white."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor="white")
    return stream.getvalue()


def save_png(figure: Figure, path: Path, *, dpi: int) -> None:
    """Write the figure as a PNG, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure, dpi=dpi))
