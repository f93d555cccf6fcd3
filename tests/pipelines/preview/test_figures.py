"""Plots of a preview, where their parts are many or none."""

from __future__ import annotations

from pipelines.output.drawing import PALETTE
from pipelines.preview.figures import by_kl, shortcuts_png


def test_there_may_be_more_best_settings_than_colours() -> None:
    baseline = {"shortcut.lists": 0.1, "shortcut.length": 20.0, "good": 0.5}
    row = {"kl": 1.0, "shortcut.lists": 0.2, "shortcut.length": 30.0}
    series = {f"setting {number}": [row] for number in range(len(PALETTE) + 2)}
    assert shortcuts_png(series, baseline).startswith(b"\x89PNG")


def test_lines_go_from_low_to_high_kl_in_whatever_order_levels_were_asked_for() -> None:
    rows = [{"kl": kl} for kl in (0.5, 1.0, 2.0, 0.7, 0.2)]  # targets, then coefficients
    assert [row["kl"] for row in by_kl(rows)] == [0.2, 0.5, 0.7, 1.0, 2.0]
