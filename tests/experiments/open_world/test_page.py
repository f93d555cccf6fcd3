"""The page is true with nothing trained, with one seed, and with several."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import DataError
from experiments.open_world.page import write_page
from experiments.open_world.stored import Stored
from tests.experiments.open_world.made_up import predictions, store_arms


def page_with(folder: Path, leads: list[float], *, predicted: int | None = None) -> str:
    """The page of `strong` with a seed per lead of the LSC sum, and of `weak` with one seed, predicted only."""
    stored = Stored(folder / "data")
    for seed in range(len(leads) if predicted is None else predicted):
        stored.write(stored.predictions("strong", seed), predictions("strong", seed))
    stored.write(stored.predictions("weak", 0), predictions("weak", 0))
    for seed, lead in enumerate(leads):
        store_arms(stored, "strong", seed, ahead=lead)
    write_page(stored, folder)
    assert (folder / "open_world.png").stat().st_size > 10_000
    return (folder / "open_world.md").read_text(encoding="utf-8")


def test_without_any_number_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no stored numbers of the open world yet"):
        write_page(Stored(tmp_path), tmp_path)


def test_before_training_the_page_has_predictions_alone(tmp_path: Path) -> None:
    page = page_with(tmp_path, [], predicted=1)
    assert "`strong`: 1 seed predicted, 0 of its 23 arms trained" in page
    assert page.count("Not trained yet.") == 3  # contrast, measures, training
    assert "Not trained yet. Predicted: +0.100 [+0.100, +0.100] (prompts of one seed) at 2 nats; +0.100" in page
    assert "| LSC sum | 2 | 0.200 | 0.300 | – |" in page
    assert "minus the others" not in page


def test_one_seed_has_intervals_over_prompts_and_no_test(tmp_path: Path) -> None:
    page = page_with(tmp_path, [0.08])
    assert (
        "| 2 | +0.100 [+0.100, +0.100] (prompts of one seed) | +0.080 [+0.080, +0.080] (prompts of one seed) |" in page
    )
    assert "| – | – | 1 |" in page  # no detectable difference, no p-value
    assert "23 of 23 runs are flat" in page


def test_several_seeds_have_t_intervals_and_adjusted_p_values(tmp_path: Path) -> None:
    page = page_with(tmp_path, [0.05, 0.15], predicted=3)
    # t at 97.5 % with 1 degree of freedom is 12.706, standard error 0.05; p = 0.295 at either target, doubled by Holm
    assert "+0.100 [-0.535, +0.735] |" in page
    assert "0.590 | 2 |" in page
    assert (
        "* At 2 nats +0.100 was predicted. Samples support 6 of the 6 predictions, and 4 of 4 runs were flat." in page
    )
    assert "* At 4 nats +0.100 was predicted. Samples support 0 of the 6 predictions" in page
    assert "`strong`: 3 seeds predicted, 46 of their 69 arms trained" in page
