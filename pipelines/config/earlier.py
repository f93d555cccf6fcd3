"""Configurations of earlier versions: where they had keys that have moved since, and the form that hashes are taken of.

A file that a user writes is refused with the new name of the key. What a run or a sweep has stored is migrated when it
is read. The hash in a checkpoint is that of the first form, version 0.1's: a key that has moved stands at its old
place in it, and a later key only where it is not at its default. So an unchanged run keeps its hash.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.config import schema
from pipelines.config.run import RunConfig

MOVED = {
    "align.prompts_per_chunk": "sampling.prompts_per_chunk",
    "align.missing_eos_penalty": "missing_eos_penalty",
    "align.deadline_s": "placement.deadline_s",
}
# Dotted keys that the first form does not have; `*` stands for every name that the user chooses.
LATER = (
    "sampling.engine",
    "policy.revision",
    "properties.*.revision",
    "properties.*.train.revision",
    "properties.*.evaluator.model",
    "properties.*.evaluator.revision",
    "data.pairs.*.revision",
    "data.demonstrations.revision",
    "data.prompts",
    "data.pairs.*.columns",
    "data.pairs.*.attribute",
    "data.demonstrations.columns",
    "world.kind",
    "placement.weights",
    "placement.learners",
    "align.lora",
    "align.gradient_checkpointing",
    "align.staleness",
    "storage",
)

_FIRST_STOP = ["\n\nHuman:"]  # the default of `sampling.stop` before it depended on the policy's format

# Every stored configuration has these, since all defaults are written out; no run file gives them all.
_ALWAYS_STORED = frozenset(
    {"base", "device", "dtype", "threads", "world", "data", "tokenizer", "sft", "sampling", "references", "tracking"}
)


def migrated(raw: dict[str, Any]) -> dict[str, Any]:
    """The content of a YAML file with moved keys at their new places, if a run has stored it; else as it is."""
    if not raw.keys() >= _ALWAYS_STORED:
        return raw
    content = copy.deepcopy(raw)
    for old, new in MOVED.items():
        _move(content, old, new)
    return content


def renamed(by_key: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping by dotted keys of a run file, such as a stored point of a sweep, by today's keys."""
    return {MOVED.get(key, key): value for key, value in by_key.items()}


def first_names(by_key: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `renamed`: names of trials are made of version 0.1's keys."""
    old = {new: old for old, new in MOVED.items()}
    return {old.get(key, key): value for key, value in by_key.items()}


def first_form(config: RunConfig) -> dict[str, Any]:
    """A configuration as version 0.1 wrote it, with what was added later only where it is not at its default."""
    content = config.model_dump(mode="json")
    for key in LATER:
        _leave_out(content, schema.run_schema(), key.split("."))
    for old, new in MOVED.items():
        _move(content, new, old)
    return with_first_defaults(content)


def with_first_defaults(content: dict[str, Any]) -> dict[str, Any]:
    """A configuration's content with the values of version 0.1 where it leaves them open.

    These are the stop strings that now depend on the policy's format, and the threads that now depend on the node.
    """
    sampling, threads = content["sampling"], content["threads"]
    stop = list(_FIRST_STOP) if sampling["stop"] is None else sampling["stop"]
    return {**content, "sampling": {**sampling, "stop": stop}, "threads": 1 if threads == "auto" else threads}


def _move(content: dict[str, Any], source: str, target: str) -> None:
    """Move one key, unless there is none or the other stands there too."""
    (section, name), (new_section, new_name) = _section_of(content, source), _section_of(content, target)
    if name in section and new_name not in new_section:
        new_section[new_name] = section.pop(name)


def _section_of(content: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    *sections, name = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
    return content, name


def _leave_out(section: Any, node: schema.Node, names: Sequence[str]) -> None:
    """Remove the key `names` from a section that `node` describes, wherever it is there and at its default."""
    if not isinstance(section, dict):  # an optional section that is absent
        return
    fields = schema.section(node, section) or {}
    for name in list(section) if names[0] == "*" else names[:1]:
        field = schema.child(fields, name)
        if field is None or name not in section:
            continue
        if len(names) > 1:
            _leave_out(section[name], field, names[1:])
        elif section[name] == schema.resolve(field).get("default"):
            del section[name]
