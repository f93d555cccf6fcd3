"""The HTTP server in a thread of its own, with the event loop that all requests run on."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp

from allgood.errors import ConfigError, RoleError

Answer = TypeVar("Answer")

_START_S = 30.0


class HttpServer:
    """Answers at a bound socket from `__enter__` until `drain`, which leaving the block does too."""

    def __init__(self, app: ASGIApp, listener: socket.socket, *, drain_s: float) -> None:
        self._listener = listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=max(1, round(drain_s)),
            )
        )
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._is_up = threading.Event()
        self.loop: asyncio.AbstractEventLoop

    def __enter__(self) -> HttpServer:
        self._thread.start()
        if not self._is_up.wait(_START_S):
            raise TimeoutError(f"the HTTP server did not start within {_START_S:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        self.drain()

    def call(self, asked: Coroutine[Any, Any, Answer], *, timeout_s: float) -> Answer:
        """Run a coroutine on the server's loop, and wait for it in this thread.

        Raises:
            RoleError: It did not end in time.
        """
        try:
            return asyncio.run_coroutine_threadsafe(asked, self.loop).result(timeout_s)
        except TimeoutError as error:
            raise RoleError(f"a scorer did not answer within {timeout_s:g} s; raise start_timeout_s") from error

    def drain(self) -> None:
        """Take no more connections, and return when the requests in work have ended or their time is over."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._is_up.set()
        await self._server.serve(sockets=[self._listener])


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigError: Somebody else does, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; set host or port"
        ) from error
