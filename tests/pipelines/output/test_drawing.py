"""PNGs of figures: what is written is a picture of the size that was asked for, and never half of one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipelines.output.drawing import png_bytes, save_png


def test_size_in_pixels_is_inches_times_dpi() -> None:
    image = Image.open(io.BytesIO(png_bytes(Figure(figsize=(2.0, 1.5)), dpi=40)))
    assert image.size == (80, 60)
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_figure_that_cannot_be_drawn_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    save_png(Figure(figsize=(1.0, 1.0)), path, dpi=20)
    before = path.read_bytes()
    broken = Figure(figsize=(1.0, 1.0))
    broken.suptitle(r"$\no_such_command$")
    with pytest.raises(ValueError, match="no_such_command"):
        save_png(broken, path, dpi=20)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
