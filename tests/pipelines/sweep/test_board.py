"""What the sweep's process does when a trial ends; Tune's trials are stood in for by what the board reads of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.sweep.board import Board
from pipelines.sweep.space import Space, space_of
from pipelines.sweep.trial import mark_failed
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep


def space(folder: Path) -> Space:
    axis = {"kl.coefficient": {"kind": "values", "values": [0.1, 1.0]}}
    return space_of(tiny_sweep(folder, space=axis), tiny_base(folder))


def test_a_trial_that_cannot_go_on_is_not_announced_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board(space(tmp_path), tmp_path, "session", 2, "gold", forget=lambda _: None)
    board.on_trial_recover(0, [], trial(0))
    assert "will go on from its last checkpoint" in capsys.readouterr().out
    mark_failed(tmp_path / "trials" / board.space.point(trial(0).config["choice"]).name, "NaN", "one", permanent=True)
    board.on_trial_recover(1, [], trial(0))
    assert capsys.readouterr().out == ""


def trial(index: int) -> SimpleNamespace:
    return SimpleNamespace(trial_id=str(index), config={"choice": {"kl.coefficient": index}}, error_file=None)


def test_the_frozen_actors_are_told_of_every_trial_that_ended_and_of_no_other(tmp_path: Path) -> None:
    forgotten: list[Path] = []
    board = Board(space(tmp_path), tmp_path, "session", 2, "gold", forget=forgotten.append)
    names = [board.space.point(trial(index).config["choice"]).name for index in range(2)]
    board.on_trial_start(0, [], trial(0))
    board.on_trial_recover(0, [], trial(0))
    assert forgotten == []
    board.on_trial_complete(1, [], trial(0))
    board.on_trial_error(2, [], trial(1))
    assert forgotten == [tmp_path / "trials" / name for name in names]
    assert json.loads((forgotten[0] / "pruned.json").read_text(encoding="utf-8"))["step"] == 0
    assert json.loads((forgotten[1] / "failed.json").read_text(encoding="utf-8"))["reason"] == "its process died"


def test_where_nobody_judges_a_finished_trial_is_shown_with_its_kl_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board(space(tmp_path), tmp_path, "session", 2, "nobody", forget=lambda _: None)
    board.on_trial_result(1, [], trial(0), {"step": 2.0, "kl": 0.5})
    board.on_trial_complete(1, [], trial(0))
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[1/2]")]
    assert line.endswith(", KL 0.50 nats (validation)")
    assert "win rate" not in line
