"""`allgood plan`: what of an alignment goes where, whether it fits into memory, and how many replicas keep up.

Nothing is started but, without a described cluster, the Ray session that shows the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from actors.cluster.admission import cluster_capacity, max_threads
from actors.cluster.admit import admit
from actors.cluster.placement import Assignment, Request
from actors.cluster.search import search
from pipelines.cast.request import role_resources
from pipelines.cast.threads import recorded_threads, with_threads
from pipelines.config.run import RunConfig
from pipelines.inspection.inspect_run import data_of
from pipelines.inspection.roles import Role, roles
from pipelines.inspection.run_models import RunModels, run_models
from pipelines.planning.cluster_file import Cluster, cluster_of
from pipelines.planning.loads import Load, loads
from pipelines.planning.measured import Measured
from pipelines.planning.remedies import remedies
from pipelines.planning.replicas import Replicas, recommend
from pipelines.planning.throughput import Prediction, predict
from pipelines.run.session import ray_session

_TRIALS = 2_000  # of one search for a recommendation, which makes hundreds of them


@dataclass(frozen=True)
class Speed:
    """Predictions with the run's replicas and with recommended ones; the latter are None where nothing is faster."""

    measured: Measured
    replicas: Replicas
    now: Prediction
    recommended: Replicas | None
    then: Prediction | None


@dataclass(frozen=True)
class Plan:
    """What a plan says."""

    name: str
    assignments: Sequence[Assignment]
    loads: Sequence[Load]
    remedies: Sequence[str]
    speed: Speed | None  # None: nothing was measured or given


def here() -> Cluster:
    """The nodes of the Ray cluster that a run would use, as if nobody used them."""
    with ray_session():
        return cluster_of(cluster_capacity())


def make_plan(config: RunConfig, cluster: Cluster, measured: Measured | None, *, is_here: bool) -> Plan:
    """The plan of an alignment. `is_here` says that its processes would have this process's environment.

    Raises:
        PlacementError: The cluster cannot hold the run; a table says why.
        ModelError, ConfigError, DataError: A model's configuration or the text that a tokenizer learns from cannot be
            read.
    """
    requests = _requests(with_threads(config, recorded_threads(config)))
    assignments = admit(requests, cluster.nodes, max_threads=max_threads() if is_here else None)
    places = search(requests, cluster.nodes)
    assert places is not None, "what is admitted has places"
    models = run_models(config, data_of(config))
    found = loads(requests, places, roles_by_request(config, models), cluster)
    overloaded = [load for load in found if load.is_too_much]
    return Plan(
        config.name,
        assignments,
        found,
        remedies(config, overloaded, lambda changed: roles_by_request(changed, models)),
        None if measured is None else speed(config, cluster, measured),
    )


def speed(config: RunConfig, cluster: Cluster, measured: Measured) -> Speed:
    """How fast a run is, and how fast it would be with the replicas that the cluster has room for."""
    requests = _requests(config)
    seconds = measured.seconds
    replicas = {request.role: request.resources.replicas for request in requests if request.role in seconds.per_chunk}

    def fits(others: Replicas) -> bool:
        changed = [_with_replicas(request, others.get(request.role)) for request in requests]
        return search(changed, cluster.nodes, max_trials=_TRIALS) is not None

    now, best = predict(seconds, replicas), recommend(seconds, fits)
    if best is None or predict(seconds, best).seconds > now.seconds or best == replicas:
        return Speed(measured, replicas, now, None, None)
    return Speed(measured, replicas, now, best, predict(seconds, best))


def roles_by_request(config: RunConfig, models: RunModels) -> Mapping[str, Role]:
    """What one process of each role of an alignment needs, by the role's name in a placement."""
    scorers = list(zip(models.scorers, models.scorer_skeletons, strict=True))
    found = {role.name: role for role in roles(config, models.policy_skeleton, scorers)}
    names = {"rollout": "rollout", "reference_policy": "reference policy", "learner": "learner"}
    names |= {f"reward.{name}": f"scorer {name}" for name in config.properties}
    return {request: found[name] for request, name in names.items() if name in found}


def _requests(config: RunConfig) -> list[Request]:
    return [Request(role, needs) for role, needs in role_resources(config).items()]


def _with_replicas(request: Request, count: int | None) -> Request:
    if count is None:
        return request
    return replace(request, resources=replace(request.resources, replicas=count))
