"""Settings of the service come from a file and from overrides; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import ConfigError
from pipelines.serve.settings import load_settings


def test_overrides_stand_behind_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("port: 8001\nscorers: {helpful: {resources: {replicas: 3}}}\n", encoding="utf-8")
    settings = load_settings(file, ["port=8002", "objectives.strict=other/rewards.yaml", "limits.rows=4"])
    assert (settings.port, settings.limits.rows, settings.objectives) == (8002, 4, {"strict": "other/rewards.yaml"})
    assert settings.of_property("helpful").resources.replicas == 3
    assert settings.of_property("harmless").resources.replicas == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("port", "must read key=value"),
        ("port=many", "`port`"),
        ("prot=1", "`prot`"),
        ("port.x.y=1", "`port`"),
        ("limits.deadline_s=0", "`limits.deadline_s`"),
        ("limits.rows=9999", "limits.rows must be at most"),
        ("scorer.resources.apart_from=[learner]", "are for roles of a run"),
        ("scorer.max_replicas=1", "max_replicas must be at least resources.replicas = 2"),
    ],
)
def test_a_wrong_setting_is_named(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(None, ["port=8000", override] if override.startswith("port.") else [override])
