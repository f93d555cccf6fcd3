"""A driver of runs on hosts: `python -m tests.hosts.align_driver FOLDER SETTINGS NAME...`.

The runs of the names are made one after another by one cast; one that has a folder already is resumed. SETTINGS is the
JSON of what replaces sections of the tiny run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from actors.cluster.cast import spawn
from allgood.errors import AllgoodError
from pipelines.alignment.align import resume, run_align
from pipelines.cast.request import align_request
from pipelines.cast.stored_models import with_stored_models
from pipelines.config.run import RunConfig
from pipelines.output.progress import say
from pipelines.references.build import build_references
from pipelines.run.session import ray_session
from tests.pipelines.tiny_run import tiny_config


def hosts_config(folder: Path, settings: dict[str, Any], name: str) -> RunConfig:
    """A run whose threads are given, as hosts of a test all have the same cores."""
    return tiny_config(folder, name, threads=1, **settings)


def main(folder: Path, settings: dict[str, Any], names: list[str]) -> None:
    """Make the runs."""
    configs = [hosts_config(folder, settings, name) for name in names]
    with (
        ray_session(),
        spawn(with_stored_models(configs[0], align_request(configs[0])), tell=say) as cast,
    ):
        say(cast.where())
        build_references(configs[0], cast)
        for config in configs:
            if config.folder.is_dir():
                resume(config.folder, cast)
            else:
                run_align(config, cast)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:])
    except AllgoodError as error:  # as the command line does
        sys.exit(f"Error: {error}")
