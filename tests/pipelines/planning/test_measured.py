"""Seconds per chunk: of a run's metrics, of the command line, and of both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from allgood.errors import ConfigError
from pipelines.config.loading import save_config
from pipelines.config.run import RunConfig
from pipelines.planning.measured import measured_for, measured_in, parse_seconds
from pipelines.planning.throughput import Seconds
from tests.pipelines.tiny_run import tiny_config

PER_CHUNK = {"rollout": 3.0, "reward.short": 0.5, "reward.vowels": 0.25, "reference_policy": 1.0}
GIVEN = {**PER_CHUNK, "learner": 4.0}


def logged(config: RunConfig, num_steps: int = 4, **columns: float) -> RunConfig:
    """A run that has logged these steps; the first took a hundred times longer."""
    config.folder.mkdir(parents=True)
    save_config(config, config.folder / "config.yaml")
    seconds = {
        "generate": 6,
        "score.short": 1,
        "score.vowels": 0.5,
        "reference": 2,
        "update": 4,
        "publish": 1,
        "step": 9,
    }
    row: dict[str, Any] = {**{f"seconds.{name}": value for name, value in seconds.items()}, **columns}
    rows = [{name: value * 100 for name, value in row.items()}, *[row] * (num_steps - 1)]
    lines = [json.dumps({"step": step, **values}) for step, values in enumerate(rows, start=1)]
    (config.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return config


def test_medians_of_steps_but_the_first_become_seconds_per_chunk(tmp_path: Path) -> None:
    config = logged(tiny_config(tmp_path))  # 4 prompts, 2 per chunk: sums over two chunks are logged
    found = measured_in(config.folder, config)
    assert found.seconds == Seconds(PER_CHUNK, num_chunks=2, update=4.0, publish=1.0)
    assert found.step_seconds == 9.0
    assert found.source == f"3 steps of {config.folder}"


def test_the_run_itself_is_looked_at_first(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert measured_for(config, None, {}) is None
    logged(config)
    assert measured_for(config, None, {}) == measured_in(config.folder, config)


def test_a_step_with_more_prompts_has_more_chunks_and_a_longer_update(tmp_path: Path) -> None:
    other = logged(tiny_config(tmp_path, "other"))
    config = tiny_config(tmp_path, align={**other.align.model_dump(mode="json"), "prompts_per_step": 10})
    found = measured_in(other.folder, config)
    assert (found.seconds.num_chunks, found.seconds.update, found.step_seconds) == (5, 10.0, None)


def test_chunks_of_another_size_say_nothing(tmp_path: Path) -> None:
    other = logged(tiny_config(tmp_path, "other"))
    config = tiny_config(tmp_path, sampling={"max_new_tokens": 12, "max_prompt_tokens": 64, "prompts_per_chunk": 4})
    with pytest.raises(ConfigError, match="measured with `sampling.prompts_per_chunk: 2`, and this run has 4"):
        measured_in(other.folder, config)


def test_a_run_without_steps_and_one_without_a_role_are_refused(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config.folder.mkdir(parents=True)
    save_config(config, config.folder / "config.yaml")
    with pytest.raises(ConfigError, match="has logged no step yet"):
        measured_in(config.folder, config)
    (config.folder / "metrics.jsonl").write_text('{"step": 1, "seconds.generate": 1.0}\n')
    with pytest.raises(ConfigError, match=r"has no seconds\.score\.short in its metrics"):
        measured_in(config.folder, config)


def test_given_seconds_stand_alone_or_in_the_place_of_measured_ones(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    alone = measured_for(config, None, GIVEN)
    assert alone is not None
    assert alone.seconds == Seconds(PER_CHUNK, num_chunks=2, update=4.0)
    logged(config)
    mixed = measured_for(config, None, {"rollout": 9.0, "publish": 0.5})
    assert mixed is not None
    assert mixed.seconds == Seconds({**PER_CHUNK, "rollout": 9.0}, num_chunks=2, update=4.0, publish=0.5)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({**GIVEN, "reward.x": 1.0}, "--seconds reward.x: there is no such role; roles are rollout, reward.short"),
        ({"rollout": 1.0}, "--seconds lacks reward.short, reward.vowels, reference_policy, learner"),
    ],
)
def test_names_that_are_no_roles_and_missing_ones_are_told(
    tmp_path: Path, given: dict[str, float], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        measured_for(tiny_config(tmp_path), None, given)


def test_arguments_are_numbers_above_0() -> None:
    assert parse_seconds(["rollout=2.5", "reward.x=1e-3"]) == {"rollout": 2.5, "reward.x": 1e-3}
    for argument in ("rollout", "rollout=", "rollout=fast"):
        with pytest.raises(ConfigError, match="write ROLE=SECONDS"):
            parse_seconds([argument])
    for argument in ("rollout=0", "rollout=-1", "rollout=nan", "rollout=inf"):
        with pytest.raises(ConfigError, match="must be above 0"):
            parse_seconds([argument])
