"""Several sweeps on one base: none destroys what another needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.cast import spawn
from allgood.errors import ConfigError
from pipelines.align import run_align
from pipelines.cast_request import align_request
from pipelines.config.loading import changed_config, load_config
from pipelines.config.run import RunConfig
from pipelines.run_folder import RunFolder
from pipelines.sweep.run import only_driver, run_sweep
from pipelines.sweep.shared import with_all_references
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep
from tests.pipelines.tiny_run import make_base


def arm(reply: str) -> dict[str, Any]:
    return {"properties.short.reference": {"kind": "canned", "replies": [reply]}, "kl.coefficient": 0.5}


def replies(config: RunConfig) -> list[str]:
    return [reference.replies[0] for reference in config.references.also["short"] if reference.kind == "canned"]


def test_a_table_that_is_built_again_goes_on_serving_earlier_sweeps(tmp_path: Path) -> None:
    base = tiny_base(tmp_path, references={"also": {"short": [{"kind": "canned", "replies": ["base"]}]}})

    def trial(reply: str) -> RunConfig:
        return changed_config(base, [f"properties.short.reference={{kind: canned, replies: [{reply}]}}"])

    assert replies(with_all_references(base, [trial("first"), trial("second")])) == ["base", "first", "second"]
    assert replies(with_all_references(base, [trial("third"), trial("first")])) == ["base", "first", "second", "third"]


def test_a_second_sweep_on_a_base_waits_for_the_first(tmp_path: Path) -> None:
    base = tiny_base(tmp_path)
    first, second = (tiny_sweep(tmp_path, name, arms={"no": arm("No.")}) for name in ("first", "second"))
    with only_driver(first, base):
        with pytest.raises(ConfigError, match="another sweep is running on the base"), only_driver(second, base):
            pass
        with pytest.raises(ConfigError, match="another process is running the sweep"), only_driver(first, base):
            pass
    with only_driver(second, base):
        pass


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_an_interrupted_trial_finishes_after_another_sweep_had_the_table_built_again(tmp_path: Path) -> None:
    make_base(tmp_path)
    base = tiny_base(tmp_path)
    first = tiny_sweep(tmp_path, "first", arms={"no": arm("No.")})
    run_sweep(first, base, source_name="tiny.yaml")
    [trial] = (first.folder / "trials").glob("no-*")
    finished = json.loads((trial / "result.json").read_text(encoding="utf-8"))
    _interrupt(trial)

    run_sweep(tiny_sweep(tmp_path, "second", arms={"yes": arm("Yes.")}), base, source_name="tiny.yaml")
    run_sweep(first, base, source_name="tiny.yaml", resume=True)
    again = json.loads((trial / "result.json").read_text(encoding="utf-8"))
    assert again["test"] == finished["test"]  # the same references, though in another table
    assert "starting anew" in (trial / "log.txt").read_text(encoding="utf-8")


def _interrupt(trial: Path) -> None:
    """As if the trial had been killed after its last checkpoint."""
    (trial / "result.json").unlink()
    config = load_config(trial / "config.yaml")
    with spawn(align_request(config)) as cast:
        run_align(config, cast, overwrite=True)
    assert RunFolder(trial).checkpoints.is_dir()
