"""The README's figure shows what is stored: the map's differences, measured points, and what was trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.headline.figure import headline_figure
from experiments.headline.shown import Numbers, Panel, panels
from experiments.map.real import load_real
from experiments.map.stored import load_map
from experiments.open_world.stored import Stored
from experiments.paper.stored import load_results
from tests.experiments.open_world.made_up import predictions, store_arms

DATA = Path(__file__).parents[3] / "docs/results/data"


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    """What is stored, but of the open world nothing."""
    return Numbers(
        load_map(DATA / "map"),
        load_real(DATA / "real_data"),
        load_results(DATA / "study", "seed_*_on.json"),
        {"strong": [], "weak": []},
    )


def line(panel: Panel, words: str) -> dict[float, float]:
    return dict(next(line.points for line in panel.lines if words in line.label))


def test_differences_are_those_of_the_maps_table(numbers: Numbers) -> None:
    matters, hardly = panels(numbers)
    # "What gives the gain" has .12 and .39 at 2 nats, and .34 and .27 at 8, for different spreads and 1 % overrated.
    assert line(matters, "log-sigmoid, both")[2.0] == pytest.approx(0.39 - 0.12, abs=0.01)
    assert line(matters, "log-sigmoid, both")[8.0] == pytest.approx(0.27 - 0.34, abs=0.01)
    assert line(matters, "tuned cap")[4.0] > line(matters, "log-sigmoid, both")[4.0]
    assert line(hardly, "errors as wide")[2.0] == pytest.approx(0.20 - 0.24, abs=0.01)


def test_measured_reward_models_hardly_differ(numbers: Numbers) -> None:
    measured = line(panels(numbers)[1], "fine-tuned")
    assert set(measured) == {1.0, 2.0, 4.0}
    assert max(map(abs, measured.values())) < 0.01


def test_what_the_readme_says_of_the_sizes_holds(numbers: Numbers) -> None:
    matters, hardly = panels(numbers)
    gains = [gain for each in matters.lines if not each.is_rival for _, gain in each.points]
    assert max(gains) == pytest.approx(0.4, abs=0.03)
    [trained] = hardly.trained
    assert trained.label == "trained: embedded world, 5 seeds"
    assert all(abs(mean) < 0.015 for _, mean, _, _ in trained.points)


def test_seeds_of_the_open_world_join_where_they_are_stored(numbers: Numbers, tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    for seed, ahead in ((1, 0.1), (2, 0.2)):
        stored.write(stored.predictions("strong", seed), predictions("strong", seed))
        store_arms(stored, "strong", seed, ahead=ahead)
    found = Numbers(numbers.map, None, [], stored.points())
    matters, hardly = panels(found)
    [trained] = matters.trained
    assert trained.label == "trained: open world, strong, 2 seeds"
    assert [kl for kl, *_ in trained.points] == [0.5, 1.0, 2.0, 4.0]
    kl, mean, low, high = trained.points[2]
    # Both curves rise by 0.1 a nat; a seed's lead grows linearly up to its first arm, and stays.
    assert (kl, mean) == pytest.approx((2.0, 0.15))
    assert low < 0.1 < 0.2 < high
    assert hardly.trained == ()


def test_one_seed_has_the_interval_of_its_prompts(numbers: Numbers, tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    stored.write(stored.predictions("weak", 1), predictions("weak", 1))
    store_arms(stored, "weak", 1, ahead=0.05)
    [trained] = panels(Numbers(numbers.map, None, [], stored.points()))[1].trained
    # Arms lie at 2.2 and 4.4 nats: at 2 on the way to the first, at 4 between two of one lead.
    assert trained.label == "trained: open world, weak, 1 seed"
    assert [point[1] for point in trained.points] == pytest.approx([0.05 * 2 / 2.2, 0.05])


def test_the_figure_is_drawn_with_trained_points(numbers: Numbers) -> None:
    assert headline_figure(panels(numbers)).startswith(b"\x89PNG")
