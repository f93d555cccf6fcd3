"""Requests made from the service's own OpenAPI document, valid and not: no server error, and answers as documented.

A few per route here; `make fuzz` makes thousands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pipelines.serve.settings import Limits
from tests.pipelines.serve.in_process import served_in_process

schemathesis = pytest.importorskip("schemathesis", reason="comes with the extra `dev`; run make setup")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

EXAMPLES = int(os.environ.get("ALLGOOD_FUZZ_EXAMPLES", "10"))
STATE = ("GET /healthz", "GET /readyz", "GET /metrics", "GET /v1/objectives")
ASKING = (
    "POST /v1/score",
    "POST /v1/what-if",
    "POST /get_reward",
    "POST /get_reward/{objective}",
    "POST /slime",
    "POST /slime/{objective}",
    "POST /classify",
)


@pytest.fixture(scope="module")
def operations() -> Iterator[dict[str, Any]]:
    """All operations of the document of a service by method and path."""
    with served_in_process(Limits()) as url:
        document = schemathesis.openapi.from_url(f"{url}/openapi.json")
        yield {found.ok().label: found.ok() for found in document.get_all_operations()}


def test_every_route_is_in_the_document(operations: dict[str, Any]) -> None:
    assert set(operations) == {*STATE, *ASKING}


@pytest.mark.parametrize(
    ("route", "mode"),
    [*((route, "positive") for route in (*STATE, *ASKING)), *((route, "negative") for route in ASKING)],
)
def test_every_answer_is_as_documented(operations: dict[str, Any], route: str, mode: str) -> None:
    requests = operations[route].as_strategy(generation_mode=schemathesis.GenerationMode(mode))

    @given(case=requests)
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100)
    def ask(case: Any) -> None:
        # That valid data are accepted is not asked: whether a prompt can be read is not in the document.
        case.call_and_validate(excluded_checks=[checks.positive_data_acceptance])

    ask()
