"""The scorers of all objectives as Ray Serve applications: one per reward model, whoever uses it.

Serve's own HTTP proxy stays off. It knows neither tokens nor limits, and would not ask again when a replica dies.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, LoggingConfig

from actors.cluster.admission import accelerators_are_labelled, cluster_nodes
from actors.cluster.admit import admit
from actors.cluster.placement import ACCELERATOR_LABEL, Request, Resources, actor_options, selector_of
from allgood.errors import PlacementError
from allgood.scorers.rewards_spec import PropertySpec, RewardsSpec
from pipelines.serve.replica import Replica, ReplicaSpec
from pipelines.serve.settings import ScorerSettings, ServeSettings

APPLICATION = "allgood"
_CALLS_PER_REPLICA = 256  # that may be in a replica at once: what shares a pass must be there
_POLL_S = 0.1


@dataclass(frozen=True)
class Deployment:
    """A scorer and how it runs. `name` is that of the first property that uses it."""

    name: str
    replica: ReplicaSpec
    settings: ScorerSettings


def deployments_of(objectives: Mapping[str, RewardsSpec], settings: ServeSettings) -> dict[tuple[str, str], Deployment]:
    """Which deployment scores each (objective, property). Properties with equal scorers and settings share one."""
    chosen: dict[tuple[str, str], Deployment] = {}
    distinct: dict[tuple[ReplicaSpec, str], Deployment] = {}
    for objective, spec in objectives.items():
        for name, setting in spec.properties.items():
            own = settings.of_property(name)
            replica = _replica_spec(setting, own)
            key = (replica, own.model_dump_json())
            distinct.setdefault(key, Deployment(_name(name, len(distinct)), replica, own))
            chosen[objective, name] = distinct[key]
    return chosen


@contextmanager
def running(deployments: Collection[Deployment], *, timeout_s: float) -> Iterator[dict[str, DeploymentHandle[Any]]]:
    """Handles of deployments by name inside the block, all of them up; ended afterwards.

    Raises:
        PlacementError: The cluster cannot place them, or they did not start in time.
    """
    distinct = {deployment.name: deployment for deployment in deployments}
    admit([Request(name, deployment.settings.resources) for name, deployment in distinct.items()], cluster_nodes())
    if any(deployment.settings.resources.accelerator for deployment in deployments):
        _require_labels()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config=_quiet())
    try:
        handles = serve.run_many(
            [
                serve.RunTarget(target=_application(deployment), name=f"{APPLICATION}-{name}", route_prefix=None)
                for name, deployment in distinct.items()
            ],
            wait_for_applications_running=False,
        )
        _wait_until_running([f"{APPLICATION}-{name}" for name in distinct], timeout_s)
        yield dict(zip(distinct, handles, strict=True))
    finally:
        for name in distinct:
            serve.delete(f"{APPLICATION}-{name}", _blocking=False)


def _require_labels() -> None:
    if not accelerators_are_labelled():
        raise PlacementError(
            f"resources.accelerator of a served scorer needs the label {ACCELERATOR_LABEL} on every node with GPUs; "
            "set it with `ray start --labels`, or leave the accelerator out"
        )


def _application(deployment: Deployment) -> Any:
    settings, resources = deployment.settings, deployment.settings.resources
    scale: dict[str, Any] = {"num_replicas": resources.replicas}
    if settings.max_replicas is not None:
        scale = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=resources.replicas, max_replicas=settings.max_replicas, target_ongoing_requests=8
            )
        }
    make: Any = serve.deployment  # its annotation forgets that the class becomes a deployment
    return make(
        Replica,
        name="scorer",
        max_ongoing_requests=_CALLS_PER_REPLICA,
        ray_actor_options=replica_options(resources),
        health_check_period_s=2.0,
        graceful_shutdown_timeout_s=5.0,
        **scale,
    ).bind(deployment.replica)


def replica_options(resources: Resources) -> dict[str, Any]:
    """What Ray Serve is told of the resources of each replica."""
    selector = selector_of(resources)
    return actor_options(resources) | ({"label_selector": selector} if selector else {})


def _wait_until_running(names: list[str], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while True:
        applications = serve.status().applications
        states = {name: applications[name] for name in names if name in applications}
        for name, state in states.items():
            if state.status == ApplicationStatus.DEPLOY_FAILED:
                reasons = [deployment.message for deployment in state.deployments.values() if deployment.message]
                raise PlacementError(f"{name} does not start: {_last_line(' '.join(reasons) or state.message)}")
        if len(states) == len(names) and all(state.status == ApplicationStatus.RUNNING for state in states.values()):
            return
        if time.monotonic() > end:
            waiting = [name for name in names if name not in states or states[name].status != ApplicationStatus.RUNNING]
            raise PlacementError(
                f"{', '.join(waiting)} did not start within {timeout_s:g} s; raise start_timeout_s, or ask for less"
            )
        time.sleep(_POLL_S)


def _replica_spec(setting: PropertySpec, own: ScorerSettings) -> ReplicaSpec:
    predictor = setting.reference.predictor
    return ReplicaSpec(setting.scorer, None if predictor is None else predictor.encoder, own.resources.threads or 1)


def _name(property_name: str, number: int) -> str:
    return f"{re.sub('[^A-Za-z0-9_]', '_', property_name)}-{number}"


def _quiet() -> LoggingConfig:
    return LoggingConfig(log_level="WARNING", enable_access_log=False)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "no reason given"
