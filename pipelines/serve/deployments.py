"""The models of all objectives as Ray Serve applications: one per reward model and start policy, whoever uses it.

Serve's own HTTP proxy stays off. It knows neither tokens nor limits, and would not ask again when a replica dies.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, LoggingConfig

from actors.cluster.admission import accelerators_are_labelled, cluster_nodes
from actors.cluster.admit import admit
from actors.cluster.placement import ACCELERATOR_LABEL, Node, Request, Resources, actor_options, selector_of
from actors.cluster.seats import NODE_LABEL
from actors.cluster.supervision import last_line
from allgood.errors import PlacementError
from allgood.scorers.rewards_spec import PropertySpec, RewardsSpec
from pipelines.serve.replica import Replica, ReplicaSpec
from pipelines.serve.sampler import Sampler, SamplerSpec
from pipelines.serve.settings import ReplicaSettings, SamplesSettings, ScorerSettings, ServeSettings

APPLICATION = "allgood"
_POLL_S = 0.1


@dataclass(frozen=True)
class _Kind:
    """A class of replicas; calls that may be in one at once, and with how many another one is wanted."""

    replica: type
    name: str
    max_calls: int
    target_calls: int


_SCORER = _Kind(Replica, "scorer", max_calls=256, target_calls=2)  # see remote.RemoteScorer for how many are made
_SAMPLER = _Kind(Sampler, "sampler", max_calls=2, target_calls=1)  # one is sampled, and one waits


Settings = TypeVar("Settings", bound=ReplicaSettings)


@dataclass(frozen=True)
class Deployment(Generic[Settings]):
    """A scorer or sampler and how it runs. The name of a scorer is that of the first property that uses it."""

    name: str
    replica: ReplicaSpec | SamplerSpec
    settings: Settings


def deployments_of(
    objectives: Mapping[str, RewardsSpec], settings: ServeSettings
) -> dict[tuple[str, str], Deployment[ScorerSettings]]:
    """Which deployment scores each (objective, property). Properties with equal scorers and settings share one."""
    chosen: dict[tuple[str, str], Deployment[ScorerSettings]] = {}
    distinct: dict[tuple[ReplicaSpec, str], Deployment[ScorerSettings]] = {}
    for objective, spec in objectives.items():
        for name, setting in spec.properties.items():
            own = settings.of_property(name)
            replica = _replica_spec(setting, own)
            key = (replica, own.model_dump_json())
            distinct.setdefault(key, Deployment(_name(name, len(distinct)), replica, own))
            chosen[objective, name] = distinct[key]
    return chosen


def samplers_of(
    objectives: Mapping[str, RewardsSpec], settings: ServeSettings
) -> dict[str, Deployment[SamplesSettings]]:
    """Which deployment samples pi_0 of each objective that has fresh samples. Equal start policies share one."""
    policies = {name: spec.start_policy for name, spec in objectives.items() if spec.start_policy is not None}
    threads = settings.samples.resources.threads or 1
    distinct = {
        policy: Deployment(f"start-policy-{number}", SamplerSpec(policy, threads), settings.samples)
        for number, policy in enumerate(dict.fromkeys(policies.values()))
    }
    return {name: distinct[policy] for name, policy in policies.items()}


@contextmanager
def running(
    deployments: Collection[Deployment[Any]], *, timeout_s: float
) -> Iterator[dict[str, DeploymentHandle[Any]]]:
    """Handles of deployments by name inside the block, all of them up; ended afterwards.

    Raises:
        PlacementError: The cluster cannot place them, or they did not start in time.
    """
    distinct = {deployment.name: deployment for deployment in deployments}
    admit([Request(name, deployment.settings.resources) for name, deployment in distinct.items()], cluster_nodes())
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config=_quiet())
    service = uuid.uuid4().hex[:8]  # another one on this cluster may have properties of the same names
    applications = {name: f"{APPLICATION}-{name}-{service}" for name in distinct}
    try:
        handles = serve.run_many(
            [
                serve.RunTarget(target=_application(deployment), name=applications[name], route_prefix=None)
                for name, deployment in distinct.items()
            ],
            wait_for_applications_running=False,
        )
        _wait_until_running(list(applications.values()), timeout_s)
        yield dict(zip(distinct, handles, strict=True))
    finally:
        for application in applications.values():
            serve.delete(application, _blocking=False)


def _application(deployment: Deployment[Any]) -> Any:
    nodes = None if accelerators_are_labelled() else cluster_nodes()
    return application_of(deployment, nodes).bind(deployment.replica)


def application_of(deployment: Deployment[Any], unlabelled: Sequence[Node] | None = None) -> Any:
    """The deployment in Serve's words; `unlabelled` as in `replica_options`."""
    settings, resources = deployment.settings, deployment.settings.resources
    kind = _SCORER if isinstance(deployment.replica, ReplicaSpec) else _SAMPLER
    scale: dict[str, Any] = {"num_replicas": resources.replicas}
    if settings.max_replicas is not None:
        scale = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=resources.replicas,
                max_replicas=settings.max_replicas,
                target_ongoing_requests=kind.target_calls,
                upscale_delay_s=settings.upscale_delay_s,
            )
        }
    make: Any = serve.deployment  # its annotation forgets that the class becomes a deployment
    return make(
        kind.replica,
        name=kind.name,
        max_ongoing_requests=kind.max_calls,
        ray_actor_options=replica_options(resources, unlabelled),
        health_check_period_s=2.0,
        graceful_shutdown_timeout_s=5.0,
        **scale,
    )


def replica_options(resources: Resources, unlabelled: Sequence[Node] | None = None) -> dict[str, Any]:
    """What Ray Serve is told of the resources of each replica.

    `unlabelled` are the nodes of a cluster whose accelerators have no labels. There, one accelerator is asked for by
    Ray's older resource. For other expressions the nodes that match are named; one that joins later is not among them.
    """
    options, selector = actor_options(resources), selector_of(resources)
    if resources.accelerator and unlabelled is not None:
        del selector[ACCELERATOR_LABEL]
        if re.fullmatch(r"[\w./+-]+", resources.accelerator):
            options["accelerator_type"] = resources.accelerator
        else:
            fitting = ",".join(node.node_id for node in unlabelled if node.matches(resources))
            selector[NODE_LABEL] = f"in({fitting})"
    return options | ({"label_selector": selector} if selector else {})


def _wait_until_running(names: list[str], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while True:
        applications = serve.status().applications
        states = {name: applications[name] for name in names if name in applications}
        for name, state in states.items():
            if state.status == ApplicationStatus.DEPLOY_FAILED:
                reasons = [deployment.message for deployment in state.deployments.values() if deployment.message]
                raise PlacementError(f"{name} does not start: {last_line(' '.join(reasons) or state.message)}")
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
