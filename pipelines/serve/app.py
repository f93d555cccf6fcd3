"""The HTTP routes: native ones here, those of other trainers' dialects in `dialects`, the page in `page`.

Answers are JSON. A request without an answer has an error status and {"error": one line}; a row that failed has nulls,
`ok: false` and its reason. A number never stands in for a failure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from allgood.errors import RoleError
from allgood.objectives import FormulaUtility
from allgood.scorers.rewards_spec import PropertySpec, RewardsSpec
from allgood.scorers.what_if import judged_against
from allgood.scorers.wire import ScoreAnswer
from pipelines.serve import dialects, page
from pipelines.serve.bodies import (
    Objective,
    Objectives,
    Problem,
    ScoreRequest,
    ServedProperty,
    State,
    WhatIfAnswer,
    WhatIfProperty,
    WhatIfRequest,
    as_text,
)
from pipelines.serve.gate import refused
from pipelines.serve.metrics import MEDIA_TYPE
from pipelines.serve.service import RefusedError, Service, one_line

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": what}
    for status, what in {
        400: "the body is no JSON",
        401: "no token, or a wrong one",
        404: "no such objective",
        413: "the body is too long",
        422: "a value is missing or wrong",
        429: "too much is waiting; see Retry-After",
        500: "a scorer failed",
        503: "models are loading, or the service is being stopped; see Retry-After",
        504: "no answer within the deadline",
    }.items()
}


def application(service: Service) -> FastAPI:
    """The application; what it refuses without looking at a body is the gate's."""
    app = FastAPI(
        title="allgood",
        summary="Rewards of several properties, centred, transformed and combined.",
        version="1",
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
    )
    app.add_exception_handler(RefusedError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    _add_state(app, service)
    _add_native(app, service)
    app.include_router(dialects.router(service), responses=PROBLEMS)
    app.include_router(page.router())
    return app


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_model=State, tags=["state"])
    async def healthz() -> Response:
        """The process lives."""
        return JSONResponse({"status": service.status})

    @app.get("/readyz", response_model=State, tags=["state"], responses={503: {"model": State}})
    async def readyz() -> Response:
        """Whether requests are answered: 503 while models load, and while the service is being stopped."""
        return JSONResponse({"status": service.status}, 200 if service.status == "ready" else 503)

    @app.get("/metrics", tags=["state"], response_class=Response)
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.metrics.text(), media_type=MEDIA_TYPE)


def _add_native(app: FastAPI, service: Service) -> None:
    @app.post("/v1/score", response_model=ScoreAnswer, responses=PROBLEMS, tags=["native"])
    async def score(body: ScoreRequest) -> Response:
        """Judge responses: reward, reference, margin, utility and P(good) per property, and the objective."""
        name, _ = service.objective(body.objective)
        scores = await service.score(
            name,
            [as_text(row.prompt) for row in body.rows],
            [as_text(row.response) for row in body.rows],
            [row.was_cut for row in body.rows],
        )
        return JSONResponse(scores.answer())

    @app.post("/v1/what-if", response_model=WhatIfAnswer, responses=PROBLEMS, tags=["native"])
    async def what_if(body: WhatIfRequest) -> Response:
        """Judge known raw rewards against other references; no model is asked."""
        _, objective = service.objective(body.objective)
        return JSONResponse(_what_if(objective.spec, body).model_dump())

    @app.get("/v1/objectives", response_model=Objectives, responses=PROBLEMS, tags=["native"])
    async def objectives() -> Response:
        """What is served, the first objective first."""
        described = [_described(name, objective.spec) for name, objective in service.objectives.items()]
        return JSONResponse(Objectives(objectives=described).model_dump())


def _what_if(spec: RewardsSpec, body: WhatIfRequest) -> WhatIfAnswer:
    names = list(spec.properties)
    for row in body.rows:
        if set(row.rewards) != set(names) or set(row.references) != set(names):
            raise RefusedError(422, f"give rewards and references of exactly these properties: {', '.join(names)}")
    cut = None if body.rows[0].was_cut is None else np.array([bool(row.was_cut) for row in body.rows])
    rewards = {name: [row.rewards[name] for row in body.rows] for name in names}
    references = {name: [row.references[name] for row in body.rows] for name in names}
    try:
        judged = judged_against(spec, rewards, references, was_cut=cut)
    except (ValueError, RoleError) as error:
        raise RefusedError(422, one_line(error)) from error
    p_all_good = judged.p_all_good
    rows = [
        {
            "utility": _number(judged.utilities[row]),
            "p_all_good": None if p_all_good is None else _number(p_all_good[row]),
            "properties": {
                name: WhatIfProperty(
                    margin=_number(view.margins[row]),
                    utility=_number(view.utilities[row]),
                    p_good=_number(view.p_good[row]),
                )
                for name, view in judged.properties.items()
            },
        }
        for row in range(len(body.rows))
    ]
    return WhatIfAnswer.model_validate({"rows": rows})


def _described(name: str, spec: RewardsSpec) -> Objective:
    objective = spec.objective
    formula = objective.formula if isinstance(objective, FormulaUtility) else None
    return Objective(
        name=name,
        expression=None if formula is None else formula.expression,
        kind=objective.kind,
        says_p_all_good=formula is not None and not formula.is_tempered,
        needs_was_cut=spec.missing_eos_penalty > 0,
        properties={name: _described_property(setting) for name, setting in spec.properties.items()},
    )


def _described_property(setting: PropertySpec) -> ServedProperty:
    reference, treatment = setting.reference, setting.treatment(0.0)
    sources = {
        "constant": reference.constant is not None,
        "table": reference.table is not None,
        "replies": bool(reference.replies),
        "predictor": reference.predictor is not None,
        "samples": reference.samples is not None,
        "fallback": reference.fallback is not None,
    }
    return ServedProperty(
        scorer=setting.scorer.kind,
        transform=setting.transform,
        references=[name for name, is_there in sources.items() if is_there],
        reference_is_a_number=setting.facts.needs != "draws",
        good_from=treatment.good_from or treatment.facts.good_from,
    )


def _number(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refused(error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return refused(RefusedError(400, f"the body is no JSON: {first.get('ctx', {}).get('error', first['msg'])}"))
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return refused(RefusedError(422, f"{place or 'body'}: {first['msg'].removeprefix('Value error, ')}"))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(RefusedError(error.status_code, str(error.detail)))
