"""The threads of a run: worked out once, when its first actors start, and kept from then on.

1 and 2 threads differ in the last bits. So every stage of a run uses the same numbers, those of an alignment with all
roles at work, and `threads.json` in the run folder keeps them: a run that goes on with other nodes has them still. Runs
on a `base` take its numbers. What a run file says itself always wins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from actors.cluster.admission import cluster_capacity, max_threads
from actors.cluster.admit import admit
from actors.cluster.placement import Request
from allgood.errors import PlacementError
from pipelines.cast.request import role_resources
from pipelines.config.run import RunConfig
from pipelines.output.files import write_json

RECORD = "threads.json"
_REWARD = "reward."
_OF_A_LANE = ("rollout", "learner")


def with_run_threads(config: RunConfig, *, num_lanes: int = 1) -> RunConfig:
    """The configuration with a number of threads for every role, as far as `threads: auto` leaves them open.

    Needs a Ray session where they were not worked out before. `num_lanes` lanes, each with rollout and learner actors
    of its own, run at the same time. Where the cluster cannot hold all roles of an alignment nothing is decided for the
    run: a stage that needs fewer of them shares the cores among those.
    """
    if config.threads != "auto":
        return config
    known = recorded_threads(config)
    if role_resources(config).keys() - known.keys():
        try:
            worked_out = _worked_out(config, num_lanes)
        except PlacementError:
            return with_threads(config, known)
        known = worked_out | known
        write_json(config.folder / RECORD, known)
    return with_threads(config, known)


def recorded_threads(config: RunConfig) -> dict[str, int]:
    """The threads that were worked out for this run, or for its base, by role; empty before."""
    return _read(config.base_folder / RECORD) | _read(config.folder / RECORD)


def with_threads(config: RunConfig, threads: Mapping[str, int]) -> RunConfig:
    """The configuration with these threads, by role, where a role's placement has none."""
    placement = config.placement.model_copy(
        update={
            role: replace(needs, threads=needs.threads or threads.get(role))
            for role in ("rollout", "reference_policy", "learner")
            for needs in [getattr(config.placement, role)]
        }
    )
    properties = {
        name: setting.model_copy(
            update={
                "placement": replace(
                    setting.placement, threads=setting.placement.threads or threads.get(f"{_REWARD}{name}")
                )
            }
        )
        for name, setting in config.properties.items()
    }
    return config.model_copy(update={"placement": placement, "properties": properties})


def _worked_out(config: RunConfig, num_lanes: int) -> dict[str, int]:
    requests = [
        Request(role, replace(needs, replicas=needs.replicas * (num_lanes if role in _OF_A_LANE else 1)))
        for role, needs in role_resources(config).items()
    ]
    assignments = admit(requests, cluster_capacity(), max_threads=max_threads())
    return {assignment.role: assignment.threads for assignment in assignments}


def _read(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    content: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return content
