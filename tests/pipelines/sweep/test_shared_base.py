"""Several sweeps on one base: none destroys what another needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.cast import spawn
from allgood.errors import ConfigError
from pipelines.align import run_align
from pipelines.align_setup import set_up
from pipelines.cast_request import align_request
from pipelines.config.loading import changed_config
from pipelines.config.run import RunConfig
from pipelines.config.sweep_loading import override_text
from pipelines.references import build_references
from pipelines.sweep.execution import has_its_table
from pipelines.sweep.run import only_driver
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


@pytest.mark.usefixtures("ray_cluster")
def test_a_table_that_was_built_again_has_the_same_references_and_is_not_that_of_the_checkpoint(tmp_path: Path) -> None:
    make_base(tmp_path)
    base = tiny_base(tmp_path)
    first, second = (
        changed_config(base, [override_text(*change) for change in arm(r).items()]) for r in ("No.", "Yes.")
    )
    with spawn(align_request(base)) as cast:
        build_references(with_all_references(base, [first]), cast)
        references = set_up(first).treatments("arm")["short"].references
        run_align(first, cast)
        assert has_its_table(first)
        build_references(with_all_references(base, [second]), cast)
    assert not has_its_table(first)
    assert set_up(first).treatments("arm")["short"].references == references
