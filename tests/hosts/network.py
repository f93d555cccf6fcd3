"""Several hosts on one machine: namespaces with an address, a link, processes and temporary folders of their own.

A switch is a network namespace with a bridge. A host is a process that is the first one of its own namespaces of
network, mounts, processes and name; killing it ends everything there at once, as a power cut does. What a host has on
disk outside /run and /dev/shm is what the machine has, so hosts share storage, as nodes of a cluster do.

Nothing outside the namespaces is changed, and they go when this process goes, however it ends.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

Found = TypeVar("Found")

_SHM_MB = 300
_PREFIX, _MOST = "10.77.0", 9
_START_S = 120.0

# The first process of a host. It goes on when the link is there, and ends with whoever holds its standard input.
_HOST = """
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs -o size={shm_mb}m tmpfs /dev/shm
hostname {name}
echo 127.0.0.1 localhost > /run/hosts
for number in $(seq {most}); do echo {prefix}.$number host$number; done >> /run/hosts
mount --bind /run/hosts /etc/hosts
: > /run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf
read
ip link set lo up
ip link set eth0 up
ip address add {address}/24 dev eth0
echo there
read || true
"""


@functools.cache
def why_not() -> str | None:
    """Why this machine cannot have hosts; None where it can."""
    probe = "ip link add probe type bridge && mount -t tmpfs tmpfs /run && hostname probe"
    command = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c", probe]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=_START_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no namespaces here: {error}"
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.strip() or tried.returncode}"


@dataclass(frozen=True)
class Host:
    """A host and the process that keeps it."""

    name: str
    address: str
    port: str  # of the switch
    keeper: subprocess.Popen[str]
    first_pid: int  # as the machine counts

    def start(self, command: Sequence[str], log: IO[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process on the host; it ends with the host."""
        inside = [
            "nsenter",
            f"--target={self.first_pid}",
            "--net",
            "--mount",
            "--uts",
            "--pid",
            f"--wdns={Path.cwd()}",
        ]
        return subprocess.Popen([*inside, *command], stdout=log, stderr=log, env={**os.environ, **environment})

    def kill(self) -> None:
        """Have the host and all of its processes gone at once."""
        self.keeper.kill()
        self.keeper.wait(_START_S)


class Network:
    """A switch and the hosts on it. A context manager: leaving it ends them all."""

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self._relays: list[subprocess.Popen[str]] = []
        self._switch = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        _wait_until(lambda: _network_of(str(self._switch.pid)) != _network_of("self"))
        self._ip("link", "add", "bridge", "type", "bridge")
        self._ip("link", "set", "bridge", "up")

    def add_host(self) -> Host:
        """A host with a link of its own, on which nothing runs yet."""
        number = len(self._hosts) + 1
        name, address, port = f"host{number}", f"{_PREFIX}.{number}", f"port{number}"
        script = _HOST.format(shm_mb=_SHM_MB, name=name, address=address, prefix=_PREFIX, most=_MOST)
        namespaces = ["--net", "--mount", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
        keeper = subprocess.Popen(
            ["unshare", *namespaces, "bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        first_pid = _wait_until(lambda: child_of(keeper.pid))
        self._ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(first_pid))
        self._ip("link", "set", port, "master", "bridge", "up")
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        print(file=keeper.stdin, flush=True)
        assert keeper.stdout.readline() == "there\n", f"{name} did not start"
        host = Host(name, address, port, keeper, first_pid)
        self._hosts.append(host)
        return host

    def cut(self, host: Host) -> None:
        """Take the host's link away."""
        self._ip("link", "set", host.port, "down")

    def reconnect(self, host: Host) -> None:
        """Give the link back."""
        self._ip("link", "set", host.port, "up")

    def impair(self, host: Host, *, delay_s: float, loss: float) -> None:
        """Make every frame to and from a host late, and lose this share of them."""
        near, far = f"near-{host.port}", f"far-{host.port}"
        self._ip("link", "add", near, "type", "veth", "peer", "name", far)
        self._ip("link", "set", near, "up")
        self._ip("link", "set", far, "master", "bridge", "up")
        self._ip("link", "set", host.port, "nomaster")
        script = str(Path(__file__).with_name("relay.py"))
        line = [sys.executable, script, host.port, near, str(delay_s), str(loss), str(len(self._relays))]
        relay = subprocess.Popen([*self._inside(), *line], stdout=subprocess.PIPE, text=True)
        self._relays.append(relay)
        assert relay.stdout is not None
        assert relay.stdout.readline() == "there\n", "the relay did not start"

    def close(self) -> None:
        """End all hosts and the switch."""
        for host in self._hosts:
            host.kill()
        for relay in self._relays:
            relay.kill()
            relay.wait(_START_S)
        self._switch.kill()
        self._switch.wait(_START_S)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ip(self, *words: str) -> None:
        subprocess.run([*self._inside(), "ip", *words], check=True, timeout=_START_S)

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._switch.pid}", "--net"]


def _network_of(process: str) -> Path:
    return Path(f"/proc/{process}/ns/net").readlink()


def child_of(pid: int) -> int | None:
    """The first process that a process has started, None before that."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return int(children[0]) if children else None


def _wait_until(find: Callable[[], Found | None]) -> Found:
    """What `find` gives, once it is something."""
    deadline = time.monotonic() + _START_S
    while not (found := find()):
        assert time.monotonic() < deadline, "a namespace was not made in time"
        time.sleep(0.01)
    return found
