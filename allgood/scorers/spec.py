"""What a scorer is made of, as values: a reward model, a classifier, a function, or an ensemble of reward models.

`load_scorer` makes scorers of them. Nothing here loads anything, not even torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

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


ScorerSpec = ModelSpec | ClassifierSpec | FunctionSpec | EnsembleSpec
