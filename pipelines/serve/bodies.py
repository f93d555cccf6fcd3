"""What requests and answers hold, as FastAPI checks them and shows them in the OpenAPI document.

The answer of `/v1/score` is `allgood.scorers.wire.ScoreAnswer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from allgood.scorers import policy_texts


def _encodable(text: str) -> str:
    """JSON can hold half a character, which no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text has half a character (a lone surrogate) at position {error.start}") from None
    return text


String = Annotated[str, AfterValidator(_encodable)]

TEA = "How do I make tea?"
_ANSWER = "Pour boiling water over the leaves and wait for three minutes."


class Body(BaseModel):
    """A request: unknown keys are refused, and nothing is converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Message(Body):
    """One turn of a conversation."""

    role: Annotated[String, Field(examples=["user"])]
    content: Annotated[String, Field(examples=[TEA])]


Text = Annotated[String | list[Message], Field(description="text, or messages {role, content}")]


def as_text(text: str | Sequence[Message]) -> policy_texts.Text:
    """A text or messages as a scorer takes them."""
    return text if isinstance(text, str) else [{"role": turn.role, "content": turn.content} for turn in text]


class Row(Body):
    """A response to judge."""

    prompt: Annotated[Text, Field(examples=[TEA])]
    response: Annotated[Text, Field(examples=[_ANSWER])]
    was_cut: Annotated[
        bool | None, Field(description="whether the response ended at a length limit; needed for a penalty on that")
    ] = None


class ScoreRequest(Body):
    """Rows to judge by one objective."""

    objective: Annotated[String | None, Field(description="its name; absent: the first", examples=["default"])] = None
    rows: Annotated[list[Row], Field(min_length=1)]


class WhatIfRow(Body):
    """Known raw rewards and references to judge them by, per property."""

    rewards: Annotated[dict[String, float], Field(examples=[{"helpful": 1.5}])]
    references: Annotated[dict[String, float], Field(examples=[{"helpful": 0.5}])]
    was_cut: bool | None = None


class WhatIfRequest(Body):
    """Rewards that are known already, to be judged against other references. No model is asked."""

    objective: String | None = None
    rows: Annotated[list[WhatIfRow], Field(min_length=1)]


class WhatIfProperty(BaseModel):
    """z, u and P(good) of a property."""

    margin: float | None
    utility: float | None
    p_good: float | None


class WhatIfAnswerRow(BaseModel):
    """What rewards would be worth; null where the objective is not finite."""

    utility: float | None
    p_all_good: float | None
    properties: dict[str, WhatIfProperty]


class WhatIfAnswer(BaseModel):
    """One row per row asked."""

    rows: list[WhatIfAnswerRow]


class ServedProperty(BaseModel):
    """How a property is judged. `scorer` is model, classifier, ensemble or function."""

    scorer: str
    transform: str
    references: Annotated[list[str], Field(description="where r_ref comes from, in the order of asking")]
    reference_is_a_number: Annotated[bool, Field(description="false where responses are compared with samples")]
    good_from: Annotated[str, Field(description="what P(good) is read from: margin, log_prob or rounded_log_prob")]


class Objective(BaseModel):
    """An objective that is served."""

    name: str
    expression: Annotated[str | None, Field(description="the formula; null for other kinds")]
    kind: str
    says_p_all_good: bool
    needs_was_cut: bool
    properties: dict[str, ServedProperty]


class Objectives(BaseModel):
    """All objectives; the first is taken where a request names none."""

    objectives: list[Objective]


class Problem(BaseModel):
    """Why there is no answer, in one line."""

    error: Annotated[str, Field(examples=["there is no objective 'tasty'; there are: default"])]


class State(BaseModel):
    """Whether requests are answered: loading, ready or draining."""

    status: Annotated[str, Field(examples=["ready"])]


class OpenRlhfRequest(BaseModel):
    """What OpenRLHF sends to a remote reward model; further keys are ignored. `query` starts with the prompt."""

    model_config = ConfigDict(strict=True)
    query: Annotated[list[String], Field(min_length=1, examples=[[f"\n\nHuman: {TEA}\n\nAssistant: {_ANSWER}"]])]
    prompts: Annotated[list[String], Field(min_length=1, examples=[[f"\n\nHuman: {TEA}\n\nAssistant:"]])]
    labels: list[Any] | None = None


class OpenRlhfAnswer(BaseModel):
    """`rewards` are log P(all good), `scores` are P(all good), `extra_logs` log P(good) or utility of each property."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


class SlimeRequest(BaseModel):
    """What slime and miles send to `rm_url`; further keys are ignored."""

    model_config = ConfigDict(strict=True)
    prompt: Annotated[Text, Field(examples=[TEA])]
    response: Annotated[String, Field(examples=[_ANSWER])]
    label: Any = None


class ClassifyRequest(BaseModel):
    """What clients of vLLM's `/classify` send: whole conversations, as text or messages. Other keys are ignored."""

    model_config = ConfigDict(strict=True)
    model: Annotated[String | None, Field(description="name of the objective; absent: the first")] = None
    input: Annotated[
        String | list[String] | None, Field(examples=[f"\n\nHuman: {TEA}\n\nAssistant: {_ANSWER}"], description="texts")
    ] = None
    messages: Annotated[list[Message] | None, Field(description="one conversation; its last message is judged")] = None


class Class(BaseModel):
    """One conversation: `probs` holds log P(all good) alone."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class ClassifyAnswer(BaseModel):
    """As vLLM answers; tokens are not counted."""

    id: str
    object: str
    created: int
    model: str
    data: list[Class]
    usage: dict[str, int]
