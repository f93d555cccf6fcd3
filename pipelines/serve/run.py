"""`allgood serve`: start the scorers, answer requests, and end without losing one.

The main thread has Ray: it starts the scorers, waits for a signal, and ends them. A second thread has the HTTP server,
which answers from the first moment: `/readyz` says whether models are loaded.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allgood.errors import ConfigError, naming
from allgood.scorers.rewards_file import read_rewards
from allgood.scorers.rewards_spec import RewardsSpec
from pipelines.output.progress import say
from pipelines.run.session import ray_session
from pipelines.serve.access import token_for
from pipelines.serve.app import application
from pipelines.serve.gate import LOG, Gate, GateSettings
from pipelines.serve.metrics import Metrics
from pipelines.serve.server import HttpServer, bind
from pipelines.serve.service import Service
from pipelines.serve.settings import ServeSettings

if TYPE_CHECKING:
    from pipelines.serve.deployments import Deployment
    from pipelines.serve.objective import ServedObjective


def serve_rewards(target: Path, settings: ServeSettings) -> None:
    """Serve the objective at `target` and those of the settings until SIGINT or SIGTERM.

    Raises:
        ConfigError, ModelError, ReferenceTableError, PlacementError: Why the service does not start.
    """
    with _log(), serving(target, settings) as url:
        say(f"ready at {url}; Ctrl-C stops")
        with _stop_signals() as stop:  # not before: Ray sets handlers of its own when it starts
            stop.wait()
        say("stopping; requests in work end first")


@contextmanager
def serving(target: Path, settings: ServeSettings) -> Iterator[str]:
    """The URL of a service that answers inside the block; requests in work end before it is left.

    Raises:
        ConfigError, ModelError, ReferenceTableError, PlacementError: Why it does not start.
    """
    token = token_for(settings)
    specs = read_specs(target, settings)
    metrics = Metrics()
    service = Service(settings.limits, metrics)
    gate = Gate(application(service), GateSettings(settings.limits, token, settings.is_loopback), metrics)
    with (
        bind(settings.host, settings.port) as listener,
        HttpServer(gate, listener, drain_s=settings.limits.drain_s) as server,
    ):
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{host}:{listener.getsockname()[1]}"
        say(f"loading {', '.join(specs)}; {url}/readyz says when it is done")
        from pipelines.serve.deployments import deployments_of, running

        deployments = deployments_of(specs, settings)
        with ray_session(), running(deployments.values(), timeout_s=settings.start_timeout_s) as handles:
            service.open(_loaded(specs, deployments, handles, server, settings, metrics))
            yield url
            service.drain()
            server.drain()


def read_specs(target: Path, settings: ServeSettings) -> dict[str, RewardsSpec]:
    """What is served, by name, the first objective first.

    Raises:
        ConfigError: A file is missing or wrong, a name is there twice, or `scorers` names what is no property.
        ModelError: A file of an export is missing or was changed.
    """
    if settings.name in settings.objectives:
        raise ConfigError(f"objectives.{settings.name}: the first objective has that name; set `name`")
    paths = {settings.name: target, **{name: Path(path) for name, path in settings.objectives.items()}}
    specs = {}
    for name, path in paths.items():
        with naming(f"objective {name!r}"):
            specs[name] = read_rewards(path)
    properties = {name for spec in specs.values() for name in spec.properties}
    for name in settings.scorers:
        if name not in properties:
            raise ConfigError(f"scorers.{name}: there is no such property; there are: {', '.join(sorted(properties))}")
    return specs


def _loaded(
    specs: Mapping[str, RewardsSpec],
    deployments: Mapping[tuple[str, str], Deployment],
    handles: Mapping[str, Any],
    server: HttpServer,
    settings: ServeSettings,
    metrics: Metrics,
) -> dict[str, ServedObjective]:
    """All objectives with their scorers, ready to answer."""
    from pipelines.serve.objective import ServedObjective
    from pipelines.serve.remote import RemoteScorer

    scorers = {
        key: RemoteScorer(
            handles[deployment.name],
            loop=server.loop,
            rows_per_call=deployment.settings.rows_per_call,
            deadline_s=settings.limits.deadline_s,
            on_retry=metrics.count_retry,
        )
        for key, deployment in deployments.items()
    }
    for (objective, name), scorer in scorers.items():
        with naming(f"objective {objective!r}: property {name!r}"):
            server.call(scorer.ready(), timeout_s=settings.limits.deadline_s)
    objectives = {
        name: ServedObjective(spec, {key: scorers[name, key] for key in spec.properties})
        for name, spec in specs.items()
    }
    for served in objectives.values():
        served.load()
    return objectives


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, in place of what they do otherwise."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _log() -> Iterator[None]:
    """One line of JSON per request on standard error, without any text of it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
