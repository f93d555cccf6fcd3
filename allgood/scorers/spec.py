"""What a scorer is made of, as values: a reward model, a classifier, a function, an ensemble, or a served reward model.

`load_scorer` makes scorers of them. Nothing here loads anything, not even torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from allgood.scorers.combination import Combination, Mean


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a model reads: the fields that all specs of models share.

    Conversations have at most `max_tokens` tokens (prompts are cut from the left, a longer response has no reward).
    A micro-batch holds at most `micro_batch_tokens` tokens, padding included. `device` "auto" is the GPU where there is
    one.
    """

    max_tokens: int = 512
    micro_batch_tokens: int = 16_384
    device: str = "auto"


@dataclass(frozen=True)
class ModelSpec(Reading):
    """A reward model: the name or folder of a sequence classifier with one label. Further fields: `Reading`."""

    kind: ClassVar[str] = "model"
    source: str


@dataclass(frozen=True)
class ClassifierSpec(Reading):
    """A sequence classifier by name or folder; the reward is log P of `label`. Further fields: `Reading`."""

    kind: ClassVar[str] = "classifier"
    source: str
    label: int = 1


@dataclass(frozen=True)
class FunctionSpec:
    """A function "module:function" of (prompts, responses) that returns one number per response."""

    kind: ClassVar[str] = "function"
    source: str


@dataclass(frozen=True)
class EnsembleSpec(Reading):
    """Reward models by name or folder, and how their rewards are combined. All read as `Reading` says."""

    kind: ClassVar[str] = "ensemble"
    members: tuple[str, ...]
    combination: Combination = field(default=Mean())


Dialect = Literal["vllm_classify", "vllm_pooling", "sglang", "openrlhf", "allgood"]
"""What a server of rewards speaks, see `allgood.scorers.dialects`."""

Templating = Literal["server", "here", "none"]
"""Who writes a conversation as text: the server, from messages; we, with its tokenizer; nobody (it stays hh text)."""


@dataclass(frozen=True)
class Server:
    """Where a served reward model answers, and how it is asked. None of it decides what the rewards are.

    `token_env` names the environment variable that holds a bearer token. A request has `deadline_s` seconds with all
    its retries, and asks for at most `batch_size` rewards; `connections` requests are under way at a time.
    """

    url: str
    token_env: str | None = None
    deadline_s: float = 120.0
    batch_size: int = 32
    connections: int = 8


@dataclass(frozen=True)
class HttpSpec:
    """A reward model that somebody serves: `source` is its name there, `revision` what its owner calls its version.

    `tokenizer` (folder or name on the hub) writes conversations where the templating is "here". `served_property` is
    the one whose raw reward is taken from a server that speaks "allgood".
    """

    kind: ClassVar[str] = "http"
    source: str
    server: Server
    dialect: Dialect
    template: Templating = "server"
    revision: str | None = None
    tokenizer: str | None = None
    served_property: str | None = None

    def __post_init__(self) -> None:
        if problem := _misfit(self):
            raise ValueError(problem)


def _misfit(spec: HttpSpec) -> str | None:
    """Why the parts of a served model do not fit together."""
    if (spec.template == "here") != (spec.tokenizer is not None):
        return "`tokenizer` belongs to `template: here`: give both, or neither"
    if (spec.dialect == "allgood") != (spec.served_property is not None):
        return "`served_property` belongs to `dialect: allgood`, which serves several: give both, or neither"
    if spec.dialect == "allgood" and spec.template != "server":
        return "a server that speaks allgood applies templates itself; set template: server"
    if spec.dialect in ("sglang", "openrlhf") and spec.template == "server":
        return f"a server that speaks {spec.dialect} takes text, not messages; set template: here, or none for hh text"
    return None


ScorerSpec = ModelSpec | ClassifierSpec | FunctionSpec | EnsembleSpec | HttpSpec
