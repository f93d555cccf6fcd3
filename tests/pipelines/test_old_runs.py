"""Runs made by version 0.1 go on, are evaluated and serve as bases: `tests/fixtures/runs_0_1.tar.xz`.

The archive holds `runs/base` (data, SFT policy, reward model, references), `runs/finished` (aligned, evaluated) and
`runs/cut`, the same run ended by an exception in its fifth step, after a checkpoint. The commit before the rooms wrote
it, with relative paths. Its configuration sets the three keys of `align` that have moved since.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.cluster.cast import Cast, spawn
from pipelines.alignment.align import resume, run_align
from pipelines.cast.request import align_request
from pipelines.config.loading import load_run
from pipelines.config.run import RunConfig
from pipelines.evaluation.evaluate import evaluate
from pipelines.output.stamp import NUMBERS_VERSION, STAMP
from pipelines.run.folder import RunFolder
from tests.pipelines.tiny_run import final_weights, without_wall_clock

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "runs_0_1.tar.xz"
ADDED = {"staleness"}  # columns of metrics.jsonl that version 0.1 did not have
NEARLY = {"rel": 1e-3, "abs": 1e-4}  # another kind of CPU may have other last bits


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the runs, in the current directory: their paths are relative."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11 has it from 3.11.4 on
        archive.extractall(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield Path("runs")


@pytest.fixture(scope="module")
def cast(runs: Path, ray_cluster: None) -> Iterator[Cast]:
    with spawn(align_request(load_run(runs / "finished"))) as cast:
        yield cast


def loaded(runs: Path, name: str) -> RunConfig:
    return load_run(runs / name).model_copy(update={"output_dir": runs})


def columns_of_then(config: RunConfig) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without wall-clock and what a step says since."""
    return [{name: row[name] for name in row if name not in ADDED} for row in without_wall_clock(config)]


def test_an_old_run_goes_on_from_its_checkpoint_to_the_end_of_the_run_that_was_not_cut(runs: Path, cast: Cast) -> None:
    resume(runs / "cut", cast)
    expected, rows = (columns_of_then(loaded(runs, name)) for name in ("finished", "cut"))
    assert [row.keys() for row in rows] == [row.keys() for row in expected]
    assert rows[-1]["step"] == 6
    assert rows[-1] == pytest.approx(expected[-1], **NEARLY)
    weights = final_weights(loaded(runs, "cut"))
    for name, value in final_weights(loaded(runs, "finished")).items():
        assert weights[name].numpy() == pytest.approx(value.numpy(), **NEARLY)


def test_a_new_run_stands_on_an_old_base(runs: Path, cast: Cast) -> None:
    config = load_run(runs / "finished", ["seed=4"]).model_copy(update={"name": "new"})
    assert run_align(config, cast)["steps"] == 6


def test_an_old_run_is_evaluated_as_it_was(runs: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]) -> None:
    path = RunFolder(runs / "finished").evaluation / "measurements.json"
    expected = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    evaluate(load_run(runs / "finished"))
    measured = json.loads(path.read_text(encoding="utf-8"))
    assert (
        "samples of the start policy from an earlier evaluation" in capsys.readouterr().out
    )  # they are not drawn again
    assert measured.pop(STAMP) == NUMBERS_VERSION  # which the old one does not have
    assert numbers(measured) == pytest.approx(numbers(expected), **NEARLY)


def numbers(value: Any, key: str = "") -> dict[str, float]:
    """Every number of a JSON value by its dotted key."""
    if isinstance(value, Mapping):
        return {k: v for name, item in value.items() for k, v in numbers(item, f"{key}.{name}").items()}
    if isinstance(value, list):
        return {k: v for index, item in enumerate(value) for k, v in numbers(item, f"{key}.{index}").items()}
    return {key: float(value)} if isinstance(value, int | float) else {}
