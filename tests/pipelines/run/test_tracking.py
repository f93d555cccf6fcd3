"""Tracking: offline unless logged in, inside the run folder, and never a reason for a run to end."""

from __future__ import annotations

import json
import re
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import wandb

from pipelines.config.rl import TrackingConfig
from pipelines.run.tracking import Stage, Tracker, flat_numbers, logged_in, wandb_mode
from tests.patience import patient
from tests.pipelines.offline_wandb import offline_runs
from tests.pipelines.run.wandb_server import wandb_server

NOTHING = TrackingConfig(wandb="disabled")
OFFLINE = TrackingConfig(wandb="offline")
TENSORBOARD = TrackingConfig(wandb="disabled", tensorboard=True)


def tracker(tracking: TrackingConfig, folder: Path, kind: str = "align", label: str = "") -> Tracker:
    return Tracker(Stage(tracking, "tiny", kind, folder, label, {"seed": 0}))


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
    tracking = tracker(OFFLINE, run)
    tracking.log(1, {"kl": 0.1})
    tracking.table("samples", ["prompt", "response"], [["a", "b"], ["c", None]])
    tracking.image("plot", write_image(tmp_path / "plot.png"))
    tracking.finish()
    tracking.finish()
    files = list((run / "wandb").rglob("*.wandb"))
    assert len(files) == 1
    assert files[0].stat().st_size > 0
    assert list((run / "wandb").rglob("samples*.json"))
    assert list((run / "wandb").rglob("plot*.png"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ""


def test_a_second_run_in_the_same_folder_names_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tmp_path / "wandb" / "offline-run-20260101_000000-align-0123abcd"
    first.mkdir(parents=True)
    tracker(OFFLINE, tmp_path).finish()
    assert f"W&B: {first.name} stay as they are; this is a new W&B run in the group 'tiny'" in capsys.readouterr().out


def test_tensorboard_gets_scalars_tables_and_images(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracking = tracker(TENSORBOARD, tmp_path)
    tracking.log(3, {"kl": 0.25})
    tracking.table("samples", ["response"], [["a | b"]])
    tracking.image("plot", write_image(tmp_path / "plot.png"))
    tracking.finish()
    events = EventAccumulator(str(tmp_path / "tensorboard" / "align"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("kl")] == [(3, 0.25)]
    assert events.Tags()["images"] == ["plot"]


def test_a_tracker_that_cannot_start_says_so_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    tracking = tracker(TENSORBOARD, tmp_path)
    tracking.log(1, {"kl": 0.1})
    tracking.finish()
    assert capsys.readouterr().out.startswith("TensorBoard is off for this run: ")


def test_a_tracker_that_fails_later_is_dropped_after_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = tracker(TENSORBOARD, tmp_path)
    tracking.image("plot", tmp_path / "missing.png")
    tracking.image("plot", tmp_path / "missing.png")
    tracking.finish()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("TensorBoard is off from here on: FileNotFoundError")


def test_online_without_a_login_is_offline_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wandb_mode("online") == "offline"
    assert "nobody is logged in, so this run is kept offline" in capsys.readouterr().out
    monkeypatch.setenv("WANDB_MODE", "online")
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "made-up")
    assert wandb_mode("online") == "online"


@contextmanager
def logged_in_at(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B reads its environment once per process, unless it is told to begin anew."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", url)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address at which nobody listens any more."""
    with wandb_server() as url:
        pass
    with logged_in_at(url, monkeypatch):
        yield url


def test_a_server_that_cannot_be_reached_leaves_the_run_offline_after_one_line(
    tmp_path: Path, no_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.run.tracking.WANDB_ANSWERS_S", 1.0)
    tracking = tracker(TrackingConfig(wandb="online"), tmp_path)
    tracking.log(1, {"kl": 0.1})
    tracking.finish()
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(r"W&B cannot be reached \(CommError: .*\), so this run is kept offline; `wandb sync` uploads", line)
    assert no_server in line
    assert len(list((tmp_path / "wandb").glob("offline-run-*-align-*/*.wandb"))) == 1


@pytest.mark.faults
def test_a_server_that_goes_away_keeps_nobody_waiting_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.run.tracking.WANDB_FINISHES_S", 3.0)
    with ExitStack() as server:
        url = server.enter_context(wandb_server())
        with logged_in_at(url, monkeypatch):
            tracking = tracker(TrackingConfig(wandb="online"), tmp_path)
            tracking.log(1, {"kl": 0.1})
            server.close()
            tracking.log(2, {"kl": 0.2})
            began = time.monotonic()
            tracking.finish()
            assert time.monotonic() - began < patient(30.0)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("W&B is off from here on: ")
    assert list((tmp_path / "wandb").glob("run-*-align-*/*.wandb"))


def test_stages_share_a_group_and_have_their_kind_as_job_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, label in (("sft", ""), ("reward", "helpful"), ("reward", "harmless")):
        with tracker(OFFLINE, tmp_path, kind, label) as tracking:
            tracking.log(1, {"loss": 0.5})
    runs = offline_runs(tmp_path)
    assert {(run.name, run.group, run.job_type) for run in runs} == {
        ("tiny sft", "tiny", "sft"),
        ("tiny reward helpful", "tiny", "reward"),
        ("tiny reward harmless", "tiny", "reward"),
    }
    assert all(run.settings["seed"] == 0 for run in runs)
    assert "stay as they are" not in capsys.readouterr().out  # another stage is not an earlier try


def test_a_group_of_ones_own_replaces_the_runs_name(tmp_path: Path) -> None:
    with tracker(TrackingConfig(wandb="offline", group="trials"), tmp_path) as tracking:
        tracking.log(1, {"loss": 0.5})
    assert [run.group for run in offline_runs(tmp_path)] == ["trials"]


def test_the_summary_holds_the_final_numbers(tmp_path: Path) -> None:
    with tracker(OFFLINE, tmp_path) as tracking:
        tracking.log(1, {"kl": 0.1})
        tracking.summary({"kl": 0.2, "good": {"helpful": 0.5}, "name": "x", "interval": [0.1, 0.3]})
    summary = offline_runs(tmp_path)[0].summary
    assert summary["final/kl"] == 0.2
    assert summary["final/good.helpful"] == 0.5
    assert not {"final/name", "final/interval"} & summary.keys()


def test_a_row_with_missing_numbers_is_logged_without_them(tmp_path: Path) -> None:
    with tracker(OFFLINE, tmp_path) as tracking:
        tracking.log_row({"step": 4, "kl": 0.5, "validation.score": None})
    row = offline_runs(tmp_path)[0].history[0]
    assert (row["_step"], row["kl"]) == (4, 0.5)
    assert "validation.score" not in row


def test_records_with_unlike_keys_make_one_table(tmp_path: Path) -> None:
    with tracker(OFFLINE, tmp_path) as tracking:
        tracking.records("policies", [{"policy": "SFT", "kl": 0.0}, {"policy": "arm", "win": {"helpful": 0.6}}])
        tracking.records("nothing", [])
    table = json.loads(next((tmp_path / "wandb").rglob("policies*.table.json")).read_text())
    assert table["columns"] == ["policy", "kl", "win.helpful"]
    assert table["data"] == [["SFT", 0.0, None], ["arm", None, 0.6]]
    assert not list((tmp_path / "wandb").rglob("nothing*"))


def test_tensorboard_keeps_nothing_of_an_earlier_try(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for value in (0.25, 0.5):
        with tracker(TENSORBOARD, tmp_path, "sft") as tracking:
            tracking.log(3, {"loss": value})
            tracking.summary({"best": value})
    events = EventAccumulator(str(tmp_path / "tensorboard" / "sft"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("final/best")] == [(3, 0.5)]


def test_flat_numbers_have_dotted_names_and_nothing_else() -> None:
    report = {"a": 1, "b": {"c": 0.5, "d": {"e": 2}}, "text": "x", "none": None, "list": [1, 2]}
    assert flat_numbers(report) == {"a": 1, "b.c": 0.5, "b.d.e": 2}


def test_disabled_tracking_writes_nothing(tmp_path: Path) -> None:
    tracking = tracker(NOTHING, tmp_path)
    tracking.log(1, {"kl": 0.1})
    tracking.finish()
    assert list(tmp_path.iterdir()) == []


def write_image(path: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (8, 4), "red").save(path)
    return path
