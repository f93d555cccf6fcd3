"""Who judged stored samples, as hashes: gold by its code or its world, held-out preference models by their weights.

Samples keep the scores of their judges. Where the judge has changed since, new responses would be compared with old
scores, so whatever is stored carries these keys alongside those of the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allgood.errors import ReferenceTableError
from pipelines.cast.request import EVALUATOR, evaluator_scorers
from pipelines.config.run import RunConfig
from pipelines.output.hashes import function_hash, model_hash

GOLD = "gold"
JUDGES = "judges"  # in the manifest of a reference table


def judge_keys(config: RunConfig) -> dict[str, Any]:
    """By judge that exists now, "gold" and "evaluator.<property>": what its scores depend on, as JSON."""
    keys: dict[str, Any] = {}
    for name, scorer in evaluator_scorers(config).items():
        keys[f"{EVALUATOR}{name}"] = {"model": model_hash(scorer.source), "max_tokens": scorer.max_tokens}
    if config.evaluate.gold is not None:
        keys[GOLD] = function_hash(config.evaluate.gold)  # its code, not its name: the samples hold what it said
    elif config.world is not None:
        # Tables that were made when there was one world do not name its kind.
        keys[GOLD] = config.world.model_dump(mode="json", exclude={"kind"} if config.world.kind == "embedded" else None)
    return keys


def changed_judges(judges: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """Judges, by their keys, that were others when the table with this manifest was made."""
    held = manifest.get(JUDGES, {})
    return [name for name, key in judges.items() if name in held and held[name] != key]


def missing_judges(judges: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """Judges that scored nothing in the table with this manifest."""
    return [name for name in judges if name not in manifest.get(JUDGES, {})]


def refuse_changed_judges(config: RunConfig, manifest: Mapping[str, Any], *, where: str) -> None:
    """ReferenceTableError: the samples hold scores of a judge that has changed since."""
    changed = changed_judges(judge_keys(config), manifest)
    if changed:
        raise ReferenceTableError(
            f"the samples in {where} hold scores of {', '.join(changed)} as it was before it changed; "
            "make them again with `allgood reference CONFIG`"
        )
