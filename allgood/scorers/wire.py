"""The wire format of `/v1/score`: how rewards of a whole objective are asked for and answered, as JSON.

`POST /v1/score` with {"rows": [{"prompt", "response", "was_cut"}, ...]} is answered by a `ScoreAnswer` with a row per
row asked, in their order. A prompt is what `AllGoodScorer.score` takes, text or messages {role, content}; `was_cut` is
needed where the objective has a penalty for cut answers. JSON has no NaN: a number that failed is null, `ok` is false
and `reason` says why. A number never stands in for a failure.
"""

from __future__ import annotations

from typing_extensions import TypedDict  # pydantic, which a service checks answers with, reads no other before 3.12


class ScoredProperty(TypedDict):
    """What one property says of a response: r, r_ref, z, u, P(good), and where r_ref came from."""

    reward: float | None
    reference: float | None
    margin: float | None
    utility: float | None
    p_good: float | None
    reference_from: str


class ScoredRow(TypedDict):
    """What is made of a response. `utility` is the objective's, in nats and without KL; null where `ok` is false."""

    ok: bool
    reason: str | None
    prompt_id: str | None
    utility: float | None
    p_all_good: float | None
    properties: dict[str, ScoredProperty]


class ScoreAnswer(TypedDict):
    """The body of an answer; the share is that of the request's distinct prompts, null where there is no table."""

    rows: list[ScoredRow]
    share_in_table: float | None
