"""Seconds per chunk and step: measured in a run's `metrics.jsonl`, or given on the command line."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from allgood.errors import ConfigError
from pipelines.cast.request import role_resources
from pipelines.config.loading import load_run
from pipelines.config.run import RunConfig
from pipelines.output.metrics_log import MetricsLog, Row
from pipelines.planning.throughput import LEARNER, ROLLOUT, Seconds
from pipelines.run.folder import RunFolder

PUBLISH = "publish"


@dataclass(frozen=True)
class Measured:
    """Seconds of a run, where they are from, and the median length of its steps; None where nothing was measured."""

    seconds: Seconds
    source: str
    step_seconds: float | None = None


def num_chunks(config: RunConfig) -> int:
    """Of one step."""
    return -(-config.align.prompts_per_step // config.sampling.prompts_per_chunk)


def measured_for(config: RunConfig, folder: Path | None, given: Mapping[str, float]) -> Measured | None:
    """What is known of a run's seconds: from another run's folder, or its own if it has one, and what was given.

    Raises:
        ConfigError: As `measured_in` and `with_given`.
    """
    if folder is None and not RunFolder(config.folder).metrics.is_file():
        return with_given(config, given, None)
    return with_given(config, given, measured_in(folder or config.folder, config))


def measured_in(folder: Path, config: RunConfig) -> Measured:
    """What the steps of a run took, in the median, for chunks like those of `config`; its first step is warming up.

    Raises:
        ConfigError: The folder holds no run, or one that has logged no step, or whose chunks are of another size.
        DataError: Its `metrics.jsonl` is damaged.
    """
    other = load_run(folder)
    for key, here, there in _sizes(config, other):
        if here != there:
            raise ConfigError(
                f"{folder} was measured with `{key}: {there}`, and this run has {here}, so its seconds per chunk say "
                "nothing here; measure a run with equal chunks, or give --seconds"
            )
    rows = MetricsLog(RunFolder(folder).metrics).read()
    if not rows:
        raise ConfigError(
            f"{folder} has logged no step yet, so nothing was measured; give a run that has, or --seconds"
        )
    rows = rows[1:] or rows
    chunks = num_chunks(other)
    per_chunk = {role: _median(rows, column, folder) / chunks for role, column in _columns(config).items()}
    rows_per_step = config.align.prompts_per_step / other.align.prompts_per_step
    return Measured(
        Seconds(
            per_chunk,
            num_chunks(config),
            update=_median(rows, "seconds.update", folder) * rows_per_step,
            publish=_median(rows, "seconds.publish", folder),
            staleness=config.align.staleness,
        ),
        source=f"{len(rows)} steps of {folder}",
        step_seconds=_median(rows, "seconds.step", folder) if _are_alike(config, other) else None,
    )


def with_given(config: RunConfig, given: Mapping[str, float], measured: Measured | None) -> Measured | None:
    """Measured seconds with those that were given in their place; only given ones where nothing was measured.

    `given` has seconds per chunk by role, `learner` for an update and `publish` for a publication.

    Raises:
        ConfigError: A name is none of these, or some are missing and nothing was measured.
    """
    roles = list(_columns(config))
    for name in given:
        if name not in (*roles, LEARNER, PUBLISH):
            raise ConfigError(f"--seconds {name}: there is no such role; roles are {', '.join([*roles, LEARNER])}")
    if not given:
        return measured
    if measured is None:
        missing = [name for name in (*roles, LEARNER) if name not in given]
        if missing:
            raise ConfigError(f"--seconds lacks {', '.join(missing)}; give all roles, or a run that was measured")
        per_chunk = {role: given[role] for role in roles}
        seconds = Seconds(
            per_chunk, num_chunks(config), given[LEARNER], given.get(PUBLISH, 0.0), config.align.staleness
        )
        return Measured(seconds, source="given seconds")
    known = measured.seconds
    seconds = replace(
        known,
        per_chunk={role: given.get(role, each) for role, each in known.per_chunk.items()},
        update=given.get(LEARNER, known.update),
        publish=given.get(PUBLISH, known.publish),
    )
    return Measured(seconds, source=f"{measured.source}, and given seconds")


def parse_seconds(arguments: Sequence[str]) -> dict[str, float]:
    """Arguments such as "rollout=2.5" by name.

    Raises:
        ConfigError: One does not read so, or is not a number above 0.
    """
    found = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        try:
            found[name.strip()] = float(text)
        except ValueError:
            raise ConfigError(f"--seconds {argument}: write ROLE=SECONDS, such as rollout=2.5") from None
        if not 0 < found[name.strip()] < float("inf"):
            raise ConfigError(f"--seconds {argument}: seconds must be above 0")
    return found


def _sizes(config: RunConfig, other: RunConfig) -> list[tuple[str, int, int]]:
    return [
        ("sampling.prompts_per_chunk", config.sampling.prompts_per_chunk, other.sampling.prompts_per_chunk),
        ("align.samples_per_prompt", config.align.samples_per_prompt, other.align.samples_per_prompt),
        ("sampling.max_new_tokens", config.sampling.max_new_tokens, other.sampling.max_new_tokens),
    ]


def _are_alike(config: RunConfig, other: RunConfig) -> bool:
    """Whether steps of the two are equally long."""
    rows, staleness = config.align.prompts_per_step, config.align.staleness
    return (rows, staleness) == (other.align.prompts_per_step, other.align.staleness)


def _columns(config: RunConfig) -> dict[str, str]:
    """By role that works on chunks, the column of `metrics.jsonl` with its seconds per step, summed over chunks."""
    columns = {ROLLOUT: "seconds.generate", "reference_policy": "seconds.reference"}
    columns |= {f"reward.{name}": f"seconds.score.{name}" for name in config.properties}
    return {role: columns[role] for role in role_resources(config) if role in columns}


def _median(rows: Sequence[Row], column: str, folder: Path) -> float:
    values = [float(row[column]) for row in rows if row.get(column) is not None]
    if not values:
        raise ConfigError(f"{folder} has no {column} in its metrics, so nothing is known of that role; give --seconds")
    return statistics.median(values)
