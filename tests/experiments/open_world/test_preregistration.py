"""No arm is trained unless what it is compared with was written down before."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from allgood.errors import DataError
from experiments.open_world import preregistration
from experiments.open_world.preregistration import register, registered, require_committed
from experiments.open_world.registered_page import write_registered
from experiments.open_world.stored import Stored
from tests.experiments.open_world.made_up import predictions, store_arms


@pytest.fixture(autouse=True)
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that fixes both points of the world."""
    path = tmp_path / "points.json"
    path.write_text('{"strong": "a hash"}', encoding="utf-8")
    monkeypatch.setattr(preregistration, "WORLDS", path)
    return path


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """One seed of `strong` with its predictions."""
    stored = Stored(tmp_path / "data")
    stored.write(stored.predictions("strong", 0), predictions("strong", 0))
    return stored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the preregistration lies."""
    return tmp_path / "preregistration.json"


def test_what_is_registered_may_be_trained(stored: Stored, path: Path) -> None:
    register(stored, path)
    registration = registered(path)
    registration.require("strong", 0, stored.predictions("strong", 0))
    registration.require_world("strong", 0, "world strong 0")


def test_without_a_preregistration_nothing_is_trained(path: Path) -> None:
    with pytest.raises(DataError, match="no arm is trained without; run `python -m experiments.open_world"):
        registered(path)


def test_another_world_other_predictions_and_another_seed_are_refused(stored: Stored, path: Path) -> None:
    register(stored, path)
    registration = registered(path)
    with pytest.raises(DataError, match="the generator has changed since"):
        registration.require_world("strong", 0, "another world")
    with pytest.raises(DataError, match="strong, seed 1 is not preregistered"):
        registration.require("strong", 1, stored.predictions("strong", 1))
    stored.write(stored.predictions("strong", 0), predictions("strong", 0, lsc_ahead=0.2))
    with pytest.raises(DataError, match="not the file that was preregistered"):
        registration.require("strong", 0, stored.predictions("strong", 0))


def test_a_changed_design_is_refused(stored: Stored, path: Path) -> None:
    content = register(stored, path)
    content["design"]["steps"]["4"] = 1000
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=r"another design \(steps\)"):
        registered(path)


def test_changed_points_of_the_world_are_refused(stored: Stored, path: Path, points: Path) -> None:
    register(stored, path)
    points.write_text('{"strong": "another hash"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"another design \(the points of the world\)"):
        registered(path)


def test_a_seed_is_added_later_and_what_stands_there_stays(stored: Stored, path: Path) -> None:
    first = register(stored, path)["worlds"]["strong"]["0"]
    store_arms(stored, "strong", 0, ahead=0.1)
    stored.write(stored.predictions("weak", 3), predictions("weak", 3))
    worlds = register(stored, path)["worlds"]
    assert worlds["strong"] == {"0": first}
    assert worlds["weak"]["3"]["world"] == "world weak 3"


def test_a_seed_with_trained_arms_comes_too_late(stored: Stored, path: Path) -> None:
    store_arms(stored, "strong", 0, ahead=0.1)
    with pytest.raises(DataError, match="strong, seed 0 has trained arms already"):
        register(stored, path)


def test_a_file_must_be_committed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("preregistration.json")
    path.write_text("1", encoding="utf-8")
    require_committed([path])  # no repository: nothing can be said
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "init", "-q"], check=True)
    with pytest.raises(DataError, match="is not committed as it is"):
        require_committed([path])
    subprocess.run(["git", "add", path], check=True)
    subprocess.run(["git", *identity, "commit", "-qm", "first"], check=True)
    require_committed([path])
    path.write_text("2", encoding="utf-8")
    with pytest.raises(DataError, match="is not committed as it is"):
        require_committed([path])


def test_the_page_holds_rules_predictions_and_what_cannot_be_reached(stored: Stored, tmp_path: Path) -> None:
    write_registered(stored, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "* **many comparisons**: Holm" in page
    assert "| LSC sum | 2 | 0.300 [0.250, 0.350], 0.5 |" in page
    assert "| LSC sum | 4 | 0.500 [0.450, 0.550] !, 0.25 |" in page  # samples too few
    assert "| LSC sum | 8 | – |" in page
    assert "LSC sum minus the best raw sum at 2 nats: +0.100" in page
