"""The reference table that all trials of a sweep share: why the one that is there will not do, what the next must have.

A table that is built again replaces that of the base run and of earlier sweeps on it. So it has every sample, split and
prompt of the one before, and the references of them all; the base keeps a list of what sweeps asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from allgood.errors import ReferenceTableError
from pipelines.alignment.setup import set_up
from pipelines.config.loading import load_config
from pipelines.config.properties import Reference
from pipelines.config.rl import ReferencesConfig
from pipelines.config.run import RunConfig
from pipelines.data import load_prepared
from pipelines.output.files import write_json
from pipelines.references.build import reference_prompts
from pipelines.references.judge_keys import changed_judges, missing_judges
from pipelines.references.keys import table_keys
from pipelines.references.table import MANIFEST, SAMPLES, ReferenceTable
from pipelines.run.folder import RunFolder

ASKED = "sweep_references.json"  # in the base folder: every reference that some sweep on it has asked for
_ASKED: TypeAdapter[dict[str, list[Reference]]] = TypeAdapter(dict[str, list[Reference]])

References = Mapping[str, Sequence[Reference]]  # by property


def lacking(config: RunConfig, trials: Sequence[RunConfig], judges: Mapping[str, Any]) -> str | None:
    """Why the table that is there will not do; None if it will."""
    folder = RunFolder(config.base_folder).references
    if not (folder / SAMPLES).is_file():
        return "there are none yet"
    different = {json.dumps(_treatment_key(trial), sort_keys=True): trial for trial in trials}
    try:
        table = ReferenceTable.load(folder)
        table.check(table_keys(config, list(config.properties)))  # trials of raw rewards too meet its samples
        reason = _unjudged(table, judges) or _too_few(table, config)
        if reason is not None:
            return reason
        for trial in different.values():
            set_up(trial)
    except ReferenceTableError as error:
        return str(error)
    return None


def _unjudged(table: ReferenceTable, judges: Mapping[str, Any]) -> str | None:
    stale = [*changed_judges(judges, table.manifest), *missing_judges(judges, table.manifest)]
    return f"those that are there lack the scores of {', '.join(stale)} as it is now" if stale else None


def _too_few(table: ReferenceTable, config: RunConfig) -> str | None:
    made, asked = int(table.manifest["made_with"]["num_samples"]), config.references.num_samples
    known = {prompt_id for rows in table.rows.values() for prompt_id in rows}
    prompts = reference_prompts(config, load_prepared(RunFolder(config.base_folder).data).prompts)
    num_known = sum(prompt.id in known for prompt in prompts)
    if made >= asked and num_known == len(prompts):
        return None
    return (
        f"asked for are {asked} samples of {len(prompts)} prompts ({', '.join(config.references.splits)}); those that "
        f"are there have {made} of {num_known}"
    )


def _treatment_key(config: RunConfig) -> object:
    return {
        name: (setting.reference.model_dump(mode="json"), setting.transform.model_dump(mode="json"))
        for name, setting in config.properties.items()
    }


def with_all_references(config: RunConfig, trials: Sequence[RunConfig]) -> RunConfig:
    """`config` whose table serves these trials, the base run, and every sweep that had a table built on it before."""
    folder = RunFolder(config.base_folder)
    path = folder.path / ASKED
    asked = _ASKED.validate_json(path.read_bytes()) if path.is_file() else {}
    base = load_config(folder.config) if folder.config.is_file() else config
    own = [_own_references(run) for run in (base, *trials)]
    union = _union([config.references.also, base.references.also, asked, *own])
    write_json(path, _ASKED.dump_python(union, mode="json"))
    also = {name: references for name, references in union.items() if name in config.properties}
    references = _with_extent_of(folder.references, config.references)
    return config.model_copy(update={"references": references.model_copy(update={"also": also})})


def _own_references(config: RunConfig) -> References:
    return {name: [setting.reference] for name, setting in config.properties.items()}


def _union(groups: Sequence[References]) -> dict[str, list[Reference]]:
    """Every reference of the groups once, per property."""
    found: dict[str, list[Reference]] = {}
    for group in groups:
        for name, references in group.items():
            known = found.setdefault(name, [])
            known += [reference for reference in references if reference not in known]
    return found


def _with_extent_of(folder: Path, asked: ReferencesConfig) -> ReferencesConfig:
    """What was asked for, with no fewer samples of no fewer prompts than the table in `folder` has, if there is one."""
    if not (folder / MANIFEST).is_file():
        return asked
    found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["made_with"]
    made = ReferencesConfig(**{key: found[key] for key in ("num_samples", "splits", "max_prompts")})
    splits = [*made.splits, *(split for split in asked.splits if split not in made.splits)]
    limits = {
        split: max(one.max_prompts.get(split, math.inf) for one in (made, asked) if split in one.splits)
        for split in splits
    }
    return asked.model_copy(
        update={
            "num_samples": max(made.num_samples, asked.num_samples),
            "splits": splits,
            "max_prompts": {split: int(limit) for split, limit in limits.items() if limit < math.inf},
        }
    )
