"""Tracking: offline unless logged in, inside the run folder, and never a reason for a run to end."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipelines.config.rl import TrackingConfig
from pipelines.tracking import Tracker, logged_in, wandb_mode

NOTHING = TrackingConfig(wandb="disabled")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def write_netrc(tmp_path: Path, text: str) -> None:
    path = tmp_path / "netrc"
    path.write_text(text)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def test_auto_is_offline_when_not_logged_in() -> None:
    assert wandb_mode("auto") == "offline"


def test_auto_is_online_with_a_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "made-up")
    assert wandb_mode("auto") == "online"


def test_auto_is_online_with_an_entry_in_netrc(tmp_path: Path) -> None:
    write_netrc(tmp_path, "machine api.wandb.ai login user password made-up\n")
    assert wandb_mode("auto") == "online"


def test_another_server_needs_its_own_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_netrc(tmp_path, "machine api.wandb.ai login user password made-up\n")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not logged_in()


def test_a_broken_netrc_means_not_logged_in(tmp_path: Path) -> None:
    write_netrc(tmp_path, "nonsense\n")
    assert not logged_in()


def test_the_environment_decides_auto_but_not_an_explicit_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode("auto") == "disabled"
    assert wandb_mode("offline") == "offline"


def test_an_offline_run_writes_inside_the_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    tracker = Tracker(TrackingConfig(wandb="offline"), "tiny", run, {"seed": 0})
    tracker.log(1, {"kl": 0.1})
    tracker.table("samples", ["prompt", "response"], [["a", "b"], ["c", None]])
    tracker.image("plot", write_image(tmp_path / "plot.png"))
    tracker.finish()
    tracker.finish()
    files = list((run / "wandb").rglob("*.wandb"))
    assert len(files) == 1
    assert files[0].stat().st_size > 0
    assert list((run / "wandb").rglob("samples*.json"))
    assert list((run / "wandb").rglob("plot*.png"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ""


def test_a_second_run_in_the_same_folder_names_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "wandb" / "offline-run-20260101_000000-abc"
    first.mkdir(parents=True)
    Tracker(TrackingConfig(wandb="offline"), "tiny", tmp_path, {}).finish()
    assert f"W&B: {first.name} stay as they are; this is a new W&B run in the group 'tiny'" in capsys.readouterr().out


def test_tensorboard_gets_scalars_tables_and_images(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = Tracker(TrackingConfig(wandb="disabled", tensorboard=True), "tiny", tmp_path, {})
    tracker.log(3, {"kl": 0.25})
    tracker.table("samples", ["response"], [["a | b"]])
    tracker.image("plot", write_image(tmp_path / "plot.png"))
    tracker.finish()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("kl")] == [(3, 0.25)]
    assert events.Tags()["images"] == ["plot"]


def test_a_tracker_that_cannot_start_says_so_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    tracker = Tracker(TrackingConfig(wandb="disabled", tensorboard=True), "tiny", tmp_path, {})
    tracker.log(1, {"kl": 0.1})
    tracker.finish()
    assert capsys.readouterr().out.startswith("TensorBoard is off for this run: ")


def test_a_tracker_that_fails_later_is_dropped_after_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(TrackingConfig(wandb="disabled", tensorboard=True), "tiny", tmp_path, {})
    tracker.image("plot", tmp_path / "missing.png")
    tracker.image("plot", tmp_path / "missing.png")
    tracker.finish()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("TensorBoard is off from here on: FileNotFoundError")


def test_disabled_tracking_writes_nothing(tmp_path: Path) -> None:
    tracker = Tracker(NOTHING, "tiny", tmp_path, {})
    tracker.log(1, {"kl": 0.1})
    tracker.finish()
    assert list(tmp_path.iterdir()) == []


def write_image(path: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (8, 4), "red").save(path)
    return path
