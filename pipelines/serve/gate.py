"""What every request passes before a route sees it: host, token, length of the body, deadline; and its line in the log.

Plain ASGI around the application, so that a long body is never held and a wrong token costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.access import OPEN_PATHS, is_known_host, may_ask
from pipelines.serve.metrics import Metrics
from pipelines.serve.service import RefusedError
from pipelines.serve.settings import Limits

LOG = logging.getLogger("allgood.serve")

_UNLOGGED = ("/healthz", "/readyz", "/metrics")  # asked every few seconds by machines
_DISCARDED = 8  # times the limit that is read of a body that is too long, so that the client hears why


@dataclass(frozen=True)
class GateSettings:
    """Limits, and the token if there is one; a loopback service answers to its own names only."""

    limits: Limits
    token: str | None
    is_loopback: bool


class Gate:
    """An ASGI application that lets requests through to `app`, or says why not."""

    def __init__(self, app: ASGIApp, settings: GateSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        sent = _Sent(send)
        try:
            async with asyncio.timeout(self._settings.limits.deadline_s):
                self._refuse(scope)
                body = await self._body(receive, dict(scope["headers"]))
                await self._app(scope, _replayed(body, receive), sent)
        except TimeoutError:
            await sent.refuse(scope, RefusedError(504, f"no answer within {self._settings.limits.deadline_s:g} s"))
        except RefusedError as refusal:
            await sent.refuse(scope, refusal)
        except Exception as error:  # its message may hold a text of the request, so only its place is logged
            LOG.error("a defect: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            await sent.refuse(scope, RefusedError(500, "a defect of the service; its log has the traceback"))
        seconds = time.perf_counter() - started
        self._metrics.count_request(_route(scope), sent.status, seconds)
        if scope["path"] not in _UNLOGGED:
            line = {
                "method": scope["method"],
                "path": scope["path"],
                "status": sent.status,
                "ms": round(1e3 * seconds, 1),
            }
            LOG.info(json.dumps(line))

    def _refuse(self, scope: Scope) -> None:
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if self._settings.is_loopback and not is_known_host(headers):
            raise RefusedError(421, "this service answers on 127.0.0.1 and localhost only")
        token = self._settings.token
        if token is not None and scope["path"] not in OPEN_PATHS and not may_ask(headers, token):
            raise RefusedError(401, "a bearer token is needed: Authorization: Bearer TOKEN")

    async def _body(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        limit = self._settings.limits.body_bytes
        announced = headers.get(b"content-length", b"0")
        chunks: list[bytes] = []
        length = 0
        while length <= _DISCARDED * limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            chunk: bytes = message.get("body", b"")
            length += len(chunk)
            if length <= limit:
                chunks.append(chunk)
            if not message.get("more_body", False):
                break
            if announced.isdigit() and int(announced) > _DISCARDED * limit:
                length = int(announced)
                break
        if length > limit:
            raise RefusedError(413, f"the body is longer than {limit} bytes; send fewer rows")
        return b"".join(chunks)


class _Sent:
    """Passes messages on, and remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def refuse(self, scope: Scope, refusal: RefusedError) -> None:
        """Answer with a refusal, unless an answer has begun."""
        if not self.status:
            await refused(refusal)(scope, _nothing, self)


def refused(refusal: RefusedError) -> JSONResponse:
    """A refusal as an answer: its status and {"error": one line}."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": refusal.message}, refusal.status, headers)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` for an application that has not read the body yet."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _route(scope: Scope) -> str:
    """The pattern of the route, so that metrics do not grow with what somebody asks for."""
    route = scope.get("route")
    return "none" if route is None else str(route.path)
