"""Requests made from the service's own OpenAPI document, valid and not: no server error, and answers as documented.

A few per route here; `make fuzz` makes thousands.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.pipelines.serve.conftest import Served

schemathesis = pytest.importorskip("schemathesis", reason="comes with the extra `dev`; run make setup")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

EXAMPLES = int(os.environ.get("ALLGOOD_FUZZ_EXAMPLES", "12"))


@pytest.fixture(scope="package")
def document(served: Served) -> Any:
    return schemathesis.openapi.from_url(f"{served.client.base_url}/openapi.json")


api = schemathesis.pytest.from_fixture("document")


@api.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100)
def test_every_answer_is_as_documented(case: Any) -> None:
    # That valid data are accepted is not asked: whether a prompt can be read is not in the document.
    case.call_and_validate(excluded_checks=[checks.positive_data_acceptance])
