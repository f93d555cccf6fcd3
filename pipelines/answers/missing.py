"""Why answers have no score: longer than a scorer reads, or failed; and why a scored one has no utility.

A response is never cut, so one that alone exceeds `max_tokens` cannot be scored. Nothing stands in for a missing
score: it is counted here, with what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actors.messages import FloatRow
from allgood.scorers.encoding import Example, encode_all_for_scoring
from allgood.scorers.models import load_tokenizer
from allgood.views import PropertyView
from pipelines.answers.reading import Answered, flat
from pipelines.cast.request import scorer_source
from pipelines.config.properties import EnsembleProperty, FunctionProperty, HttpProperty, Property
from pipelines.config.run import RunConfig


@dataclass(frozen=True)
class Missing:
    """Answers without a score of one property, by cause, and scored ones whose prompt has no reference point."""

    too_long: int
    failed: int
    without_reference: int = 0


def missing_scores(
    config: RunConfig, answers: Sequence[Answered], rewards: Mapping[str, FloatRow]
) -> dict[str, Missing]:
    """Per property, what has no raw reward and why. Only answers without one are read again, for their length."""
    found = {}
    examples = list(zip(*flat(answers), strict=True))
    for name, row in rewards.items():
        unscored = [examples[index] for index in np.flatnonzero(np.isnan(row)).tolist()]
        too_long = _num_too_long(config, name, unscored) if unscored else 0
        found[name] = Missing(too_long, len(unscored) - too_long)
    return found


def missing_of(config: RunConfig, answers: Sequence[Answered], views: Mapping[str, PropertyView]) -> dict[str, Missing]:
    """`missing_scores` of answers with references, and how many lack one."""
    missing = {}
    rewards = {name: view.rewards for name, view in views.items()}
    for name, scores in missing_scores(config, answers, rewards).items():
        view = views[name]
        without = int((np.isfinite(view.rewards) & np.isnan(view.references)).sum())
        missing[name] = Missing(scores.too_long, scores.failed, without)
    return missing


def missing_lines(config: RunConfig, missing: Mapping[str, Missing]) -> list[str]:
    """A sentence for each cause that there is, with what to do."""
    lines = []
    for name, counts in missing.items():
        limit = _max_tokens(config.properties[name])
        if counts.too_long:
            lines.append(
                f"{counts.too_long} answers have no {name} score: they are longer than properties.{name}.max_tokens = "
                f"{limit}; raise it (scores under another limit are not reused)"
            )
        if counts.failed:
            lines.append(f"{counts.failed} answers have no {name} score: scoring failed, see what scores {name}")
        if counts.without_reference:
            lines.append(
                f"{counts.without_reference} answers have no {name} reference: fewer than two answers to their prompt "
                "have a score, or no canned reply has one"
            )
    return lines


def _num_too_long(config: RunConfig, name: str, examples: Sequence[Example]) -> int:
    """How many of these one of the property's models cannot read whole; functions and servers state no limit."""
    limit = _max_tokens(config.properties[name])
    if limit is None:
        return 0
    too_long = np.zeros(len(examples), dtype=bool)
    for source in _models(config, name):
        encoded = encode_all_for_scoring(load_tokenizer(source), examples, max_tokens=limit)
        too_long |= np.array([tokens is None for tokens in encoded])
    return int(too_long.sum())


def _max_tokens(setting: Property) -> int | None:
    return None if isinstance(setting, FunctionProperty | HttpProperty) else setting.max_tokens


def _models(config: RunConfig, name: str) -> Sequence[str]:
    setting = config.properties[name]
    return setting.members if isinstance(setting, EnsembleProperty) else [scorer_source(config, name)]
