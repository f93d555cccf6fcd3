"""Where processes of a group meet: a key-value store that one of them opens, on one interface only."""

from __future__ import annotations

import socket
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # exported without being listed


def open_store(host: str) -> tuple[TCPStore, str]:
    """A store bound to `host` only, and its address, "host:port", for everybody's `connect`."""
    listener = socket.create_server((host, 0))
    port = listener.getsockname()[1]
    # The store owns the socket from here on; binding it ourselves keeps it off the other interfaces.
    store = TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    return store, f"{host}:{port}"


def connect(address: str, timeout: timedelta) -> TCPStore:
    """The store that another process has opened at `address`."""
    host, port = address.rsplit(":", 1)
    return TCPStore(host, int(port), is_master=False, timeout=timeout)
