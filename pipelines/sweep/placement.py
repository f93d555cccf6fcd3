"""Where a sweep runs: one set of frozen actors for all trials, and a placement group of its own for every trial.

A trial's group has one bundle for the trial itself and one per replica of its rollout and learner roles, in that
order. Ray Tune makes the groups as resources come free; what can never be placed is refused before anything starts.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from typing import Any

from actors.cluster.admission import (
    accelerators_are_labelled,
    cluster_capacity,
    cluster_nodes,
    living_node_ids,
)
from actors.cluster.admit import admit
from actors.cluster.placement import (
    ACCELERATOR_LABEL,
    ACCELERATOR_RESOURCE,
    Request,
    Resources,
    bundle_of,
    selector_of,
)
from allgood.errors import PlacementError
from pipelines.cast.request import EVALUATOR, evaluators_of, placed
from pipelines.config.run import RunConfig
from pipelines.run.session import joins_cluster

HEAD_CPUS = 0.1  # of the trial's own process, which waits for its actors most of the time
FIRST_BUNDLE = 1  # of a trial's actors; bundle 0 is the trial itself
_LOOK_S = 1.0  # between two looks at the nodes
_LEFT_TO_GUARD_S = 15.0  # for whoever looks after the shared actors (`actors.cluster.guard`), and says more of them


def refuse_too_large(config: RunConfig, *, evaluators: bool) -> None:
    """PlacementError with a table when the empty cluster could not hold the frozen actors and one trial.

    `evaluators` says that held-out preference models stand in for gold. Where nodes may still come it is not checked.

    Raises:
        PlacementError: Also where a trial's roles are to share a GPU or to stay apart.
    """
    _refuse_ties(config)
    if not config.placement.wait_for_nodes_s:
        admit([*_shared(config, evaluators=evaluators), *_trial(config)], cluster_capacity())


class Room:
    """Whether the cluster can still hold the frozen actors and a trial. Ray Tune would wait for ever for a trial's."""

    def __init__(self, config: RunConfig, *, evaluators: bool) -> None:
        self._requests = [*_shared(config, evaluators=evaluators), *_trial(config)]
        self._wait_s = config.placement.wait_for_nodes_s
        self._known, self._looked_at = living_node_ids(), time.monotonic()
        self._short_since: float | None = None

    def check(self) -> None:
        """Look at the nodes, about once a second.

        Raises:
            PlacementError: Nodes were lost, and what is left could not hold a trial, also after the wait for nodes.
        """
        now = time.monotonic()
        if now - self._looked_at < _LOOK_S:
            return
        self._looked_at, living = now, living_node_ids()
        if self._short_since is None and self._known <= living:
            self._known = living
            return
        try:
            admit(self._requests, cluster_capacity())
        except PlacementError as error:
            self._short_since = self._short_since or now
            if now - self._short_since >= max(self._wait_s, _LEFT_TO_GUARD_S):
                raise PlacementError(
                    f"the cluster has lost nodes, and what is left cannot hold the shared actors and a trial: {error}"
                ) from None
        else:
            self._known, self._short_since = living, None


def num_fitting(config: RunConfig, limit: int) -> int:
    """How many trials fit alongside what is running now, at least 1 and at most `limit`.

    On a Ray of our own, whose CPUs are only numbers, no more than the machine has cores.
    """
    nodes = cluster_nodes()
    if not joins_cluster():
        limit = min(limit, max(1, os.cpu_count() or 1))
    low, high = 1, max(1, limit)
    while low < high:
        middle = (low + high + 1) // 2
        try:
            admit([_times(request, middle) for request in _trial(config)], nodes)
            low = middle
        except PlacementError:
            high = middle - 1
    return low


def trial_group(config: RunConfig) -> Any:
    """The placement group of one trial, as Ray Tune wants it.

    Raises:
        PlacementError: An accelerator expression that this cluster, without accelerator labels, cannot follow.
    """
    from ray.tune import PlacementGroupFactory

    replicas = [request for request in _trial(config) for _ in range(request.resources.replicas)]
    bundles = [bundle_of(request.resources) for request in replicas]
    selectors = [selector_of(request.resources) for request in replicas]
    if not accelerators_are_labelled():
        for bundle, selector, request in zip(bundles, selectors, replicas, strict=True):
            if selector.pop(ACCELERATOR_LABEL, None):
                bundle[_resource(request)] = 0.001
    chosen = {"bundle_label_selector": selectors} if any(selectors) else {}
    return PlacementGroupFactory(bundles, strategy="PACK", **chosen)


def _shared(config: RunConfig, *, evaluators: bool) -> list[Request]:
    rewards = [Request(f"reward.{name}", setting.placement) for name, setting in config.properties.items()]
    judges = [
        Request(f"reward.{EVALUATOR}{name}", config.properties[name].placement)
        for name in (evaluators_of(config) if evaluators else ())
    ]
    return [*rewards, *judges, Request("reference_policy", config.placement.reference_policy)]


def _trial(config: RunConfig) -> list[Request]:
    return [
        Request("trial", Resources(cpus=HEAD_CPUS, threads=1)),
        Request("rollout", placed(config, config.placement.rollout)),
        Request("learner", placed(config, config.placement.learner)),
    ]


def _times(request: Request, count: int) -> Request:
    resources = replace(request.resources, replicas=request.resources.replicas * count)
    return replace(request, resources=resources)


def _resource(request: Request) -> str:
    """The older resource of the one accelerator that a role names."""
    accelerator = request.resources.accelerator or ""
    if not re.fullmatch(r"[\w./+-]+", accelerator):
        raise PlacementError(
            f"role {request.role!r} asks for accelerator {accelerator}, but not every GPU node of this cluster has the "
            f"label {ACCELERATOR_LABEL}; name one type, or start the nodes with labels"
        )
    return f"{ACCELERATOR_RESOURCE}{accelerator}"


def _refuse_ties(config: RunConfig) -> None:
    for role, needs in (("rollout", config.placement.rollout), ("learner", config.placement.learner)):
        if needs.shares_gpu_with or needs.apart_from:
            raise PlacementError(
                f"role {role!r} has `shares_gpu_with` or `apart_from`, but Ray Tune places the trials of a sweep, and "
                "knows neither; leave them out under `overrides`"
            )
