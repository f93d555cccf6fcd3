"""The service as other trainers ask it, who need only a URL: OpenRLHF, slime and miles, and vLLM's `/classify`.

A row that failed is an error status of the whole request: none of these dialects can say that a number is missing, and
0 would be the best utility there is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from allgood.scorers.all_good_scores import AllGoodScores
from allgood.scorers.policy_texts import Text
from pipelines.serve.bodies import (
    ClassifyAnswer,
    ClassifyRequest,
    OpenRlhfAnswer,
    OpenRlhfRequest,
    SlimeRequest,
    as_text,
)
from pipelines.serve.objective import ServedObjective
from pipelines.serve.service import RefusedError, Service


def router(service: Service) -> APIRouter:
    """The routes of all dialects."""
    routes = APIRouter(tags=["dialects"])
    _add_openrlhf(routes, service)
    _add_slime(routes, service)
    _add_classify(routes, service)
    return routes


def _add_openrlhf(routes: APIRouter, service: Service) -> None:
    async def answer(body: OpenRlhfRequest, objective: str | None) -> Response:
        name, _ = service.objective(objective)
        scores = await _scored(service, name, body.prompts, _responses(body))
        p_all_good = scores.judged.p_all_good
        if p_all_good is None:
            raise RefusedError(
                422, f"objective {name!r} says no P(all good), which OpenRLHF takes as `scores`; serve a formula"
            )
        logs = {f"{key}/utility": view.utilities.tolist() for key, view in scores.properties.items()}
        return JSONResponse(
            {"rewards": scores.total.tolist(), "scores": p_all_good.tolist(), "extra_logs": _complete(logs)}
        )

    @routes.post("/get_reward", response_model=OpenRlhfAnswer)
    async def get_reward(body: OpenRlhfRequest) -> Response:
        """OpenRLHF's remote reward model, by the first objective."""
        return await answer(body, None)

    @routes.post("/get_reward/{objective}", response_model=OpenRlhfAnswer)
    async def get_reward_of(body: OpenRlhfRequest, objective: str) -> Response:
        """OpenRLHF's remote reward model, by the objective in the path."""
        return await answer(body, objective)


def _add_slime(routes: APIRouter, service: Service) -> None:
    async def answer(body: SlimeRequest, objective: str | None) -> Response:
        name, _ = service.objective(objective)
        scores = await _scored(service, name, [as_text(body.prompt)], [body.response])
        return JSONResponse(float(scores.total[0]))

    @routes.post("/slime", response_model=float)
    async def slime(body: SlimeRequest) -> Response:
        """The `rm_url` of slime and miles, by the first objective: one number."""
        return await answer(body, None)

    @routes.post("/slime/{objective}", response_model=float)
    async def slime_of(body: SlimeRequest, objective: str) -> Response:
        """The `rm_url` of slime and miles, by the objective in the path."""
        return await answer(body, objective)


def _add_classify(routes: APIRouter, service: Service) -> None:
    @routes.post("/classify", response_model=ClassifyAnswer)
    async def classify(body: ClassifyRequest) -> Response:
        """What vLLM answers for a classifier with one class, whose `probs` are log P of the objective in `model`."""
        name, objective = service.objective(body.model)
        prompts, responses = _conversations(body, objective)
        scores = await _scored(service, name, prompts, responses)
        data = [
            {"index": row, "label": "LABEL_0", "probs": [utility], "num_classes": 1}
            for row, utility in enumerate(scores.total.tolist())
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0}
        return JSONResponse(
            {
                "id": f"classify-{uuid.uuid4().hex}",
                "object": "list",
                "created": int(time.time()),
                "model": name,
                "data": data,
                "usage": usage,
            }
        )


async def _scored(service: Service, name: str, prompts: Sequence[Text], responses: Sequence[Text]) -> AllGoodScores:
    scores = await service.score(name, prompts, responses)
    for row, reason in enumerate(scores.reasons):
        if reason is not None:
            raise RefusedError(422, f"row {row}: {reason}")
    return scores


def _responses(body: OpenRlhfRequest) -> list[str]:
    if len(body.query) != len(body.prompts):
        raise RefusedError(422, f"there are {len(body.query)} queries, but {len(body.prompts)} prompts")
    for row, (query, prompt) in enumerate(zip(body.query, body.prompts, strict=True)):
        if not query.startswith(prompt):
            raise RefusedError(
                422, f"row {row}: `query` does not start with its prompt, so the response cannot be told"
            )
    return [query[len(prompt) :] for query, prompt in zip(body.query, body.prompts, strict=True)]


def _conversations(body: ClassifyRequest, objective: ServedObjective) -> tuple[list[Text], list[Text]]:
    if (body.input is None) == (body.messages is None):
        raise RefusedError(422, "give either `input` or `messages`")
    if body.messages is not None:
        if len(body.messages) < 2:
            raise RefusedError(422, "`messages` must hold a question and the answer to it")
        return [as_text(body.messages[:-1])], [as_text(body.messages[-1:])]
    texts = [body.input] if isinstance(body.input, str) else list(body.input or [])
    if not texts:
        raise RefusedError(422, "`input` is empty")
    prompts: list[Text] = []
    responses: list[Text] = []
    for row, text in enumerate(texts):
        try:
            prompt, response = objective.parted(text)
        except ValueError as error:
            raise RefusedError(422, f"row {row}: {error}") from error
        prompts.append(prompt)
        responses.append(response)
    return prompts, responses


def _complete(logs: dict[str, list[float]]) -> dict[str, list[float]]:
    """The columns without a gap: a property that the objective does not need may have failed."""
    return {name: column for name, column in logs.items() if np.isfinite(column).all()}
