"""`rewards.yaml`: the reward side of a run in one file, written by hand or by `allgood export-rewards`.

Paths in it are relative to the file, so that its folder can be moved. Next to an exported one lies `manifest.json` with
the checksums of all files that the numbers depend on; they are compared when the folder is read. The YAML itself may be
edited: a fallback, a device, the address of a server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from allgood import objectives
from allgood.errors import ConfigError, ModelError
from allgood.formula import Formula
from allgood.objectives import Objective, On
from allgood.scorers import yaml12
from allgood.scorers.hashes import function_hash, sha256_of
from allgood.scorers.reference_sections import (
    given,
    located,
    reference_keys,
    reference_of,
    start_policy_keys,
    start_policy_of,
)
from allgood.scorers.rewards_spec import PropertySpec, RewardsSpec, check_references, check_samples
from allgood.scorers.scorer_sections import scorer_keys, scorer_of
from allgood.scorers.sections import Section

REWARDS, MANIFEST, EXPORT = "rewards.yaml", "manifest.json", "rewards"
"""The file, its manifest, and the folder of both in a run folder."""

_PLAIN = (objectives.Minimum, objectives.SoftMinimum, objectives.LogitOfProduct, objectives.ZScoredSum)


def read_rewards(path: Path) -> RewardsSpec:
    """What a `rewards.yaml` says, a folder that holds one, or a run folder whose rewards were exported.

    Raises:
        ConfigError: There is none, or a key or value is wrong; names the file and the key.
        ModelError: A file that the manifest names is missing or was changed.
    """
    file = file_at(Path(path))
    spec = parse_rewards(yaml12.parse(file.read_text(encoding="utf-8"), source=str(file)), file)
    _verify(file.with_name(MANIFEST))
    return spec


def file_at(path: Path) -> Path:
    """The `rewards.yaml` that a path names, itself or in the folder of an export or of a run.

    Raises:
        ConfigError: There is none.
    """
    if path.is_dir():
        for candidate in (path / REWARDS, path / EXPORT / REWARDS):
            if candidate.is_file():
                return candidate
        raise ConfigError(
            f"{path} holds no {REWARDS}; of a run, write it with `allgood export-rewards {path}`, or give the file"
        )
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; give a {REWARDS}, or the folder of an exported one")
    return path


def parse_rewards(raw: object, file: Path) -> RewardsSpec:
    """`read_rewards` of a mapping that stands for the content of `file`, without a look at other files."""
    top = Section(raw, str(file))
    inner = top.section("properties")
    if not inner.keys:
        raise ConfigError(f"{file}: `properties` is missing: name at least one, with what scores it")
    properties = {name: _property(name, inner.section(name), file.parent) for name in inner.keys}
    share = top.number("min_share_in_table", 0.0)
    if not 0 <= share <= 1:
        raise top.wrong("min_share_in_table", "a number from 0 to 1")
    template = top.optional_text("policy_template")
    try:
        spec = RewardsSpec(
            properties=properties,
            objective=_objective(top.section("objective"), tuple(properties)),
            missing_eos_penalty=top.number("missing_eos_penalty", 0.0),
            policy_template=None if template is None else located(template, file.parent),
            min_share_in_table=share,
            start_policy=start_policy_of(top.section("start_policy"), file.parent) if top.has("start_policy") else None,
        )
        check_samples(spec)
        objectives.refuse_unfit(spec.objective, {name: setting.facts for name, setting in properties.items()})
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    if spec.missing_eos_penalty < 0:
        raise top.wrong("missing_eos_penalty", "at least 0")
    top.end()
    return spec


def rewards_yaml(spec: RewardsSpec) -> str:
    """The text of a `rewards.yaml` that `read_rewards` reads back to an equal value, up to where its paths start."""
    raw: dict[str, Any] = {
        "properties": {name: _raw_property(setting) for name, setting in spec.properties.items()},
        "objective": _raw_objective(spec.objective),
        "missing_eos_penalty": spec.missing_eos_penalty,
        "min_share_in_table": spec.min_share_in_table,
    }
    policy = None if spec.start_policy is None else start_policy_keys(spec.start_policy)
    return yaml12.dump(raw | given({"policy_template": spec.policy_template, "start_policy": policy}))


def _verify(manifest: Path) -> None:
    """Compare the files alongside an exported `rewards.yaml`, and functions that it names, with its manifest."""
    if not manifest.is_file():
        return
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        files, functions = dict(content["files"]), dict(content["functions"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{manifest} is damaged ({error!r}); export the rewards again") from error
    for name, checksum in files.items():
        path = manifest.parent / name
        if not path.is_file() or sha256_of(path) != checksum:
            raise ModelError(
                f"{path} is missing or was changed (its checksum differs from {MANIFEST}); export the rewards again"
            )
    for name, key in functions.items():
        if function_hash(name) != key:
            raise ModelError(
                f"the code of {name} is not what the rewards were exported with (see {manifest}); export them again, "
                "or take the code of then"
            )


def _property(name: str, section: Section, folder: Path) -> PropertySpec:
    transform, options, is_log_prob = _transform(section.section("transform"))
    moments = section.section("moments")
    setting = PropertySpec(
        scorer=scorer_of(section, lambda source: located(source, folder)),
        reference=reference_of(section.section("reference"), folder),
        transform=transform,
        options=options,
        is_log_prob=is_log_prob,
        temperature=section.number("temperature", 1.0),
        moments=(moments.number("mean"), moments.number("std")) if moments.keys else None,
    )
    moments.end()
    section.end()
    if not setting.temperature > 0:
        raise section.wrong("temperature", "above 0")
    try:
        check_references(name, setting)
        setting.facts  # noqa: B018  # an unknown transform is refused
    except ValueError as error:
        raise ConfigError(f"{folder / REWARDS}: {error}") from error
    return setting


def _transform(section: Section) -> tuple[str, dict[str, float], bool]:
    """Name, options and whether a user's own gives log P(good)."""
    name = section.text("kind", "log_sigmoid")
    is_log_prob = ":" in name and section.flag("is_log_prob", default=False)
    options = {key: section.number(key) for key in section.keys if key not in ("kind", "is_log_prob")}
    section.end()
    return name, options, is_log_prob


def _objective(section: Section, names: tuple[str, ...]) -> Objective:
    plain = {kind.kind: kind for kind in _PLAIN}
    kinds = ("formula", "weighted_sum", "lagrangian", *plain)
    kind = section.one_of("kind", kinds, "formula")
    objective: Objective
    if kind == "formula":
        objective = objectives.FormulaUtility(Formula(section.text("expression", " & ".join(names))))
    elif kind == "weighted_sum":
        given = section.numbers("weights")
        objective = objectives.WeightedSum({**dict.fromkeys(names, 1.0), **given})
    elif kind == "lagrangian":
        objective = objectives.Lagrangian(
            section.text("maximise"), section.numbers("thresholds"), section.numbers("multipliers")
        )
    elif kind == "soft_minimum":
        objective = objectives.SoftMinimum(names, _on(section), section.number("temperature", 1.0))
    elif kind == "minimum":
        objective = objectives.Minimum(names, _on(section))
    else:
        objective = plain[kind](names)
    section.end()
    return objective


def _on(section: Section) -> On:
    return cast(On, section.one_of("on", ("utility", "margin"), "utility"))


def _raw_property(setting: PropertySpec) -> dict[str, Any]:
    transform: dict[str, Any] = {"kind": setting.transform, **setting.options}
    if setting.is_log_prob:
        transform["is_log_prob"] = True
    raw = scorer_keys(setting.scorer) | {"transform": transform, "reference": reference_keys(setting.reference)}
    if setting.temperature != 1.0:
        raw["temperature"] = setting.temperature
    if setting.moments is not None:
        raw["moments"] = {"mean": setting.moments[0], "std": setting.moments[1]}
    return raw


def _raw_objective(objective: Objective) -> dict[str, Any]:
    if isinstance(objective, objectives.FormulaUtility):
        return {"kind": objective.kind, "expression": objective.formula.expression}
    values = {field.name: vars(objective)[field.name] for field in fields(objective) if field.name != "names"}
    plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {"kind": objective.kind, **plain}
