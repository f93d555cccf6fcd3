"""What is left to do of a command that trains or runs a whole chain: `allgood resume` does it after an interruption.

`unfinished.yaml` in the run folder holds the resolved configuration and the stages that are left, first the one that
runs. It is written before each stage and removed after the last, so it is there only while something is unfinished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from allgood.errors import ConfigError, InUseError
from allgood.scorers import yaml12
from pipelines.config.loading import changed_config, here, read_yaml, stored_config
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path
from pipelines.run.folder import RunFolder

_STAGES, _CONFIG = "stages", "config"

Note = Callable[[Sequence[str]], None]
"""Is told, before each stage, the names of those that are left."""


@dataclass(frozen=True)
class Unfinished:
    """An interrupted command: its configuration, and the stages that it had left."""

    config: RunConfig
    stages: tuple[str, ...]


@contextmanager
def noting(config: RunConfig) -> Iterator[Note]:
    """Keep on disk what is left while the block runs its stages; nothing once it is through.

    A mistake of the configuration leaves nothing either: with the same one there is no going on.
    """

    def note(stages: Sequence[str]) -> None:
        content = {_STAGES: list(stages), _CONFIG: config.model_dump(mode="json")}
        with atomic_path(RunFolder(config.folder).unfinished) as temporary:
            temporary.write_text(yaml12.dump(content), encoding="utf-8")

    try:
        yield note
    except InUseError:
        raise
    except ConfigError:
        forget(config.folder)
        raise
    forget(config.folder)


def forget(folder: Path) -> None:
    """Remove what is noted in a run folder: something else is done there from now on."""
    RunFolder(folder).unfinished.unlink(missing_ok=True)


def left_in(folder: Path) -> Unfinished | None:
    """What an interrupted command has left to do in a run folder, wherever that lies by now; None: nothing is noted.

    Raises:
        ConfigError: The note cannot be read.
    """
    path = RunFolder(folder).unfinished
    if not path.is_file():
        return None
    content = read_yaml(path)
    if not content.get(_STAGES) or not isinstance(content.get(_CONFIG), dict):
        raise ConfigError(f"{path} is damaged (it names no stages); remove it, and give the first command again")
    config = changed_config(stored_config(content[_CONFIG], source=str(path)), here(folder))
    return Unfinished(config, tuple(content[_STAGES]))
