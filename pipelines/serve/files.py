"""The files of all objectives that are served, read and checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from allgood.errors import ConfigError, naming
from allgood.scorers.known_rewards import KNOWN_REWARDS, KnownRewards, load_known
from allgood.scorers.rewards_file import file_at, read_rewards
from allgood.scorers.rewards_spec import RewardsSpec
from pipelines.serve.settings import ServeSettings


@dataclass(frozen=True)
class ObjectiveFiles:
    """What a `rewards.yaml` says, and texts with the rewards that they had in the run, if the export has them."""

    spec: RewardsSpec
    known: KnownRewards | None


def read_objectives(target: Path, settings: ServeSettings) -> dict[str, ObjectiveFiles]:
    """What is served, by name, the first objective first.

    Raises:
        ConfigError: A file is missing or wrong, a name is there twice, or `scorers` names what is no property.
        ModelError: A file of an export is missing or was changed.
    """
    if settings.name in settings.objectives:
        raise ConfigError(f"objectives.{settings.name}: the first objective has that name; set `name`")
    paths = {settings.name: target, **{name: Path(path) for name, path in settings.objectives.items()}}
    objectives = {}
    for name, path in paths.items():
        with naming(f"objective {name!r}"):
            objectives[name] = ObjectiveFiles(read_rewards(path), load_known(file_at(path).with_name(KNOWN_REWARDS)))
    properties = {name for files in objectives.values() for name in files.spec.properties}
    for name in settings.scorers:
        if name not in properties:
            raise ConfigError(f"scorers.{name}: there is no such property; there are: {', '.join(sorted(properties))}")
    return objectives
