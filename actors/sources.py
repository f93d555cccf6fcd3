"""The models that specs name, and where a process finds them: elsewhere than the driver, if its node shares no disk.

Whoever starts an actor on such a node gives it a `Find`, which makes of a model's name or folder the one to load there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from allgood.scorers.spec import EnsembleSpec, FunctionSpec, HttpSpec, ScorerSpec

Find = Callable[[str], str]


def as_named(source: str) -> str:
    """A model under the name that the spec has for it."""
    return source


def found_scorer(scorer: ScorerSpec, find: Find) -> ScorerSpec:
    """The same scorer, of models where they are found."""
    match scorer:
        case FunctionSpec():
            return scorer
        case HttpSpec():
            return scorer if scorer.tokenizer is None else replace(scorer, tokenizer=find(scorer.tokenizer))
        case EnsembleSpec():
            return replace(scorer, members=tuple(map(find, scorer.members)))
        case _:
            return replace(scorer, source=find(scorer.source))
