"""`allgood serve`: start the scorers, answer requests, and end without losing one.

The main thread has Ray: it starts the scorers, waits for a signal, and ends them. A second thread has the HTTP server,
which answers from the first moment: `/readyz` says whether models are loaded.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pipelines.output.progress import say
from pipelines.run.session import ray_session
from pipelines.serve.access import token_for
from pipelines.serve.app import application
from pipelines.serve.files import read_objectives
from pipelines.serve.gate import LOG, Gate, GateSettings
from pipelines.serve.metrics import Metrics
from pipelines.serve.server import HttpServer, bind
from pipelines.serve.service import Service
from pipelines.serve.settings import ServeSettings


def serve_rewards(target: Path, settings: ServeSettings) -> None:
    """Serve the objective at `target` and those of the settings until SIGINT or SIGTERM.

    Raises:
        ConfigError, ModelError, ReferenceTableError, PlacementError: Why the service does not start.
    """
    # This process only does sums of a few numbers, for which threads mostly wait for each other.
    torch.set_num_threads(1)
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
    files = read_objectives(target, settings)
    metrics = Metrics()
    service = Service(settings.limits, metrics)
    gate = Gate(application(service), GateSettings(settings.limits, token, settings.is_loopback), metrics)
    with (
        bind(settings.host, settings.port) as listener,
        HttpServer(gate, listener, drain_s=settings.limits.drain_s) as server,
    ):
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{host}:{listener.getsockname()[1]}"
        say(f"loading {', '.join(files)}; {url}/readyz says when it is done")
        from pipelines.serve.loading import loaded  # Ray takes a second, and mistakes of the user need none

        with ray_session(), loaded(files, settings, server, metrics) as objectives:
            service.open(objectives)
            yield url
            service.drain()
            server.drain()


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
