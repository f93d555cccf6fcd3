"""The Ray session of a command: the one place that calls `ray.init`, and only when a command runs.

With RAY_ADDRESS set (also inside a submitted job, where Ray sets it) the command joins that cluster and leaves it
running; otherwise it starts a private Ray on this machine, bound to loopback, and stops it at the end. Nothing here
passes a runtime_env: inside a submitted job Ray refuses to merge two.

However the command ends, nothing of a private Ray stays, and a line says how to go on (`last_words.py`, `head.py`).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from allgood.errors import PlacementError, first_line
from pipelines.output import progress
from pipelines.run.head import RAYS_PATIENCE_S, watched_head
from pipelines.run.last_words import survived
from pipelines.run.termination import hear_sigterm

NAMESPACE = "allgood"

# Reserved CPUs are accounting in Ray, not a limit. The default roles (rollout, reference policy, learner, one reward
# model per property) would not fit a laptop with two cores, although they take turns there perfectly well.
MIN_LOGICAL_CPUS = 16
CONNECT_TIMEOUT_S = 10.0


@contextmanager
def ray_session(*, dashboard: bool = False) -> Iterator[None]:
    """Have Ray running inside the block; stop it afterwards only if this call started it.

    `dashboard` is for Ray Train with worker processes, whose controller asks the dashboard for the state of its actors.
    """
    _careful_environment()
    import ray

    if ray.is_initialized():
        yield
        return
    logs = _start(dashboard=dashboard)
    hear_sigterm()
    head = ray.get_runtime_context().gcs_address
    with survived(logs=logs, head="" if logs else head), watched_head(head, _rays_patience_s()):
        try:
            yield
        finally:
            ray.shutdown()


def joins_cluster() -> bool:
    """Whether a session would join a running cluster instead of starting Ray here."""
    return bool(os.environ.get("RAY_ADDRESS"))


def in_joined_cluster() -> bool:
    """Whether this process is connected to a cluster that it joined."""
    if not joins_cluster():
        return False
    import ray

    return bool(ray.is_initialized())


def _start(*, dashboard: bool) -> str:
    """Start or join Ray; the folder of logs of one that was started, nothing for one that was joined."""
    import ray

    if joins_cluster():
        address = os.environ["RAY_ADDRESS"]
        _require_answer(address)
        progress.say(f"joining the Ray cluster at {address}")
        with _told(f"no Ray cluster can be joined at RAY_ADDRESS={address}", "check the address, or unset it"):
            ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
        return ""
    # Ray switches token authentication on for a new local cluster, as it should, and warns about it each time.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    with _told("Ray does not start on this machine", "it may be overloaded or short of memory: try again"):
        context: Any = ray.init(  # its type hides what it has
            address="local",
            namespace=NAMESPACE,
            num_cpus=max(MIN_LOGICAL_CPUS, os.cpu_count() or 1),
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    _make_token_private()
    return str(Path(context.address_info["session_dir"]) / "logs")


def _rays_patience_s() -> float:
    """For how long Ray waits for a head that does not answer: clusters with a head that comes back set more."""
    import ray

    name = "gcs_rpc_server_reconnect_timeout_s"
    by_environment = os.environ.get(f"RAY_{name}", RAYS_PATIENCE_S)
    return float(ray._private.state.state.get_system_config().get(name, by_environment))


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens; Ray itself tries for minutes. Without a port ("auto") Ray decides."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise PlacementError(
            f"nothing answers at RAY_ADDRESS={address} ({error}); correct it, or unset it to start Ray here"
        ) from error


@contextmanager
def _told(what: str, advice: str) -> Iterator[None]:
    """Turn what `ray.init` raises into one sentence; where a start times out that is a bare Exception."""
    try:
        yield
    except Exception as error:
        raise PlacementError(f"{what} ({first_line(error)}); {advice}") from error


def _careful_environment() -> None:
    """Settings that Ray reads at import or start; what the user has set wins."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SCHEDULER_EVENTS", "0")  # no autoscaler tips between our lines


def _make_token_private() -> None:
    # Ray writes its shared secret readable by everybody (mode 0644).
    token = Path.home() / ".ray" / "auth_token"
    if token.is_file() and token.owner() == _user():
        token.chmod(0o600)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
