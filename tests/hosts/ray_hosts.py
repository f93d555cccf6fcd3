"""A Ray cluster of several hosts in namespaces: a head, where the driver runs, and others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

from tests.hosts.network import Host, Network, child_of

_PORT = 6399
_CPUS = 4
_STORE_MB = 120
_TOKEN = "of-the-hosts-of-a-test"  # nobody else reaches them
_START_S = 300.0

# Ray's own values end a host that was cut off after about a minute. These take about 15 s.
QUICK_DEATH: Mapping[str, int] = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 4,
}


class RayHosts:
    """Hosts on which Ray runs. A context manager: leaving it ends them all."""

    def __init__(
        self,
        folder: Path,
        places: Sequence[str],
        *,
        system_config: Mapping[str, int] = QUICK_DEATH,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """A head with the label `place: head`, and a host for each of `places`. `folder` is for logs.

        `environment` is that of Ray and of drivers, beyond what Ray needs.
        """
        self._folder, self.network = folder, Network()
        self._environment = {**_environment(), **environment}
        self._num_drivers = 0
        self.head = self.network.add_host()
        options = ["--head", f"--port={_PORT}", "--include-dashboard=false"]
        self._started(
            self._start_ray(self.head, "head", [*options, f"--system-config={json.dumps(dict(system_config))}"])
        )
        self._at: dict[str, Host] = {"head": self.head}
        self.add(*places)

    def add(self, *places: str) -> None:
        """More hosts that join the cluster, with these values of the label `place`."""
        hosts = {place: self.network.add_host() for place in places}
        for starting in [self._start_ray(host, place, [self._address]) for place, host in hosts.items()]:
            self._started(starting)
        self._at |= hosts

    def __getitem__(self, place: str) -> Host:
        """The host that was last added for a place."""
        return self._at[place]

    def wait_until_ray_has_ended(self, place: str) -> None:
        """Wait until no Ray runs on a host: it ends by itself where the head took the host for lost."""
        deadline = time.monotonic() + _START_S
        with (self._folder / "ended.log").open("a") as log:
            while self._at[place].start(["pgrep", "-x", "raylet"], log, {}).wait(_START_S) == 0:
                assert time.monotonic() < deadline, f"Ray lives on at {place}"
                time.sleep(0.2)

    def rejoin(self, place: str) -> None:
        """Have a host join again, on which Ray has ended; it is a new node then."""
        self._started(self._start_ray(self._at[place], place, [self._address]))

    def drive(self, module: str, *arguments: str, host: Host | None = None) -> Driver:
        """Start a module on a host, the head if none is given."""
        self._num_drivers += 1
        path = self._folder / f"driver-{self._num_drivers}.log"
        address = f"{self.head.address}:{_PORT}"
        with path.open("w") as log:
            command = [sys.executable, "-m", module, *arguments]
            process = (host or self.head).start(command, log, {**self._environment, "RAY_ADDRESS": address})
        return Driver(process, path)

    def close(self) -> None:
        """End all hosts."""
        self.network.close()

    def __enter__(self) -> RayHosts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _address(self) -> str:
        return f"--address={self.head.address}:{_PORT}"

    def _start_ray(self, host: Host, place: str, options: Sequence[str]) -> Driver:
        ray = Path(sys.executable).parent / "ray"
        common = [f"--node-ip-address={host.address}", f"--labels=place={place}", f"--num-cpus={_CPUS}"]
        common += ["--temp-dir=/run/ray", f"--object-store-memory={_STORE_MB * 10**6}"]
        path = self._folder / f"{host.name}.log"
        with path.open("w") as log:
            return Driver(host.start([str(ray), "start", *options, *common], log, self._environment), path)

    def _started(self, starting: Driver) -> None:
        assert starting.process.wait(_START_S) == 0, starting.said()


@dataclass(frozen=True)
class Driver:
    """A process on a host, and the file with what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """All that it said until now."""
        return self.log.read_text(encoding="utf-8")

    def kill(self) -> None:
        """kill -9 of the process itself; the one that is started here only waits for it on the host."""
        pid = child_of(self.process.pid)
        assert pid is not None, self.said()
        os.kill(pid, signal.SIGKILL)
        self.process.wait(_START_S)

    def wait_for(self, is_there: Callable[[], bool], limit_s: float) -> None:
        """Wait until something is there, while the process runs."""
        deadline = time.monotonic() + limit_s
        while not is_there():
            assert self.process.poll() is None, self.said()[-5000:]
            assert time.monotonic() < deadline, f"it took more than {limit_s:g} s: {self.said()[-3000:]}"
            time.sleep(0.02)


def _environment() -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_TMPDIR": "/run/ray",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_prestart_worker_first_driver": "0",
    }
