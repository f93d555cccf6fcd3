"""What a request must pass before a route sees it, tested without scorers."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from pipelines.serve.app import application
from pipelines.serve.gate import Gate, GateSettings
from pipelines.serve.metrics import Metrics
from pipelines.serve.service import RefusedError, Service
from pipelines.serve.settings import Limits

TOKEN = "0123456789abcdef"
LIMITS = Limits(body_bytes=1000, deadline_s=0.2, rows=5, waiting_rows=5)
SECRET = "a text that no log shall hold"


def gate(token: str | None = None, *, is_loopback: bool = True) -> tuple[Gate, Service]:
    metrics = Metrics()
    service = Service(LIMITS, metrics)
    return Gate(application(service), GateSettings(LIMITS, token, is_loopback), metrics), service


async def ask(app: Gate, method: str, path: str, **options: object) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return await client.request(method, path, **options)  # type: ignore[arg-type]


def asked(app: Gate, method: str, path: str, **options: object) -> httpx.Response:
    return asyncio.run(ask(app, method, path, **options))


def test_without_the_token_only_the_page_and_the_state_answer() -> None:
    app, _ = gate(TOKEN, is_loopback=False)
    for path in ("/", "/page.js", "/page.css", "/healthz"):
        assert asked(app, "GET", path).status_code == 200
    for path in ("/v1/objectives", "/metrics", "/openapi.json", "/nothing"):
        answer = asked(app, "GET", path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert asked(app, "GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    wrong = asked(app, "POST", "/v1/score", headers={"Authorization": "Bearer wrong"}, content=b"{")
    assert (wrong.status_code, wrong.json()["error"].startswith("a bearer token")) == (401, True)


def test_a_loopback_service_refuses_other_names() -> None:
    app, _ = gate()
    assert asked(app, "GET", "/healthz", headers={"Host": "rebound.example"}).status_code == 421


def test_while_models_load_and_at_the_end_requests_shall_come_back() -> None:
    app, service = gate()
    body = {"rows": [{"prompt": "x", "response": "y"}]}
    answer = asked(app, "POST", "/v1/score", json=body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json() == {"error": "models are still loading"}
    assert asked(app, "GET", "/readyz").status_code == 503
    service.open({})
    assert asked(app, "GET", "/readyz").json() == {"status": "ready"}
    service.drain()
    assert asked(app, "POST", "/v1/score", json=body).json() == {"error": "the service is being stopped"}
    assert asked(app, "GET", "/healthz").status_code == 200


def test_rows_beyond_the_queue_are_refused_until_others_have_ended() -> None:
    _, service = gate()
    with service._in_work(5):
        with pytest.raises(RefusedError, match="5 rows are waiting") as refused, service._in_work(1):
            pass
        assert (refused.value.status, refused.value.retry_after_s) == (429, 1)
    with service._in_work(5):
        pass


def test_a_long_body_is_not_held_also_without_an_announced_length() -> None:
    app, _ = gate()

    async def chunks() -> object:
        for _ in range(20):
            yield b"x" * 100

    answer = asked(app, "POST", "/v1/score", content=chunks())
    assert (answer.status_code, answer.json()["error"]) == (413, "the body is longer than 1000 bytes; send fewer rows")


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(60)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError(SECRET)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    await JSONResponse({"body": message["body"].decode()})(scope, receive, send)


def test_a_deadline_ends_a_request_and_a_defect_is_no_secret() -> None:
    settings = GateSettings(LIMITS, None, True)
    late = asked(Gate(never, settings, Metrics()), "GET", "/v1/objectives")
    assert (late.status_code, late.json()) == (504, {"error": "no answer within 0.2 s"})
    defect = asked(Gate(broken, settings, Metrics()), "GET", "/v1/objectives")
    assert defect.status_code == 500
    assert SECRET not in defect.text


def test_the_body_reaches_the_application_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    settings = GateSettings(LIMITS, None, True)
    with caplog.at_level(logging.INFO, logger="allgood.serve"):
        answer = asked(Gate(echo, settings, Metrics()), "POST", "/v1/score", content=SECRET.encode())
    assert answer.json() == {"body": SECRET}
    (line,) = [json.loads(record.getMessage()) for record in caplog.records if record.name == "allgood.serve"]
    assert {key: line[key] for key in ("method", "path", "status")} == {
        "method": "POST",
        "path": "/v1/score",
        "status": 200,
    }
    assert SECRET not in caplog.text
