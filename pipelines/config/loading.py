"""From a YAML file and dotted overrides to a checked `RunConfig`, and back.

A key that is absent takes the default *of its place*: `align.optimizer` has other defaults than
`sft.training.optimizer`, and giving one of its keys leaves the others as they are. This holds for `kind` too, and for
the keys alongside it as long as the kind stays the same.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from allgood.errors import ConfigError
from allgood.scorers import yaml12
from pipelines.config import explain, schema
from pipelines.config.earlier import migrated
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path

Raw = dict[str, Any]

CONFIG = "config.yaml"  # of a run's folder


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run file, apply `key.sub=value` overrides from left to right, check everything.

    A configuration that an earlier version has stored may have keys that have moved since; a file of the user may not.

    Raises:
        ConfigError: names the file (or the override), the key, the value, and what is allowed.
    """
    raw = migrated(read_yaml(path))
    origin: dict[str, str] = {}
    for override in overrides:
        key = _apply(raw, override)
        origin[key] = f"override `{override}`"
    return _validate(raw, source=lambda key: _origin_of(key, origin, str(path)))


def load_run(folder: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of the run in a folder, wherever it was made: folders are moved and renamed.

    Raises:
        ConfigError: The folder holds no run; and as `load_config`.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(f"{folder} holds no run (there is no {CONFIG}); give a run folder, such as runs/quickstart")
    return load_config(path, [*here(folder), *overrides])


def here(folder: Path) -> list[str]:
    """The overrides by which a stored configuration describes the run in `folder`."""
    resolved = folder.resolve()
    parent = folder.parent if folder.name == resolved.name else resolved.parent  # the latter for `.` and for links
    place = {"output_dir": str(parent), "name": resolved.name}
    return [f"{key}={json.dumps(value)}" for key, value in place.items()]


def stored_config(raw: Raw, *, source: str) -> RunConfig:
    """The run configuration that lies inside another stored file, `source`, such as that of a sweep.

    Raises:
        ConfigError: As `load_config`.
    """
    return _validate(migrated(raw), source=lambda key: source)


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration; `load_config` of it gives an equal one."""
    with atomic_path(path) as temporary:
        temporary.write_text(config_yaml(config), encoding="utf-8")


def config_yaml(config: RunConfig) -> str:
    """The resolved configuration as YAML."""
    return yaml12.dump(config.model_dump(mode="json"))


def changed_config(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """A resolved configuration with `key.sub=value` overrides, checked again.

    Raises:
        ConfigError: As `load_config`.
    """
    raw: Raw = config.model_dump(mode="json")
    origin = {_apply(raw, override): f"override `{override}`" for override in overrides}
    return _validate(raw, source=lambda key: _origin_of(key, origin, config.name))


def read_yaml(path: Path) -> Raw:
    """The mapping that a YAML file holds, unchecked.

    Raises:
        ConfigError: There is no such file, or it is not YAML with keys at the top level.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give a YAML file")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no config file {path}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file (byte {error.start} is not UTF-8)") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    raw = yaml12.parse(text, source=str(path))
    if raw is None:
        raise ConfigError(f"{path} is empty")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: the top level must be `key: value` lines, not {explain.show(raw)}")
    return {str(name): _unshared(value) for name, value in raw.items()}


def _unshared(value: Any) -> Any:
    """A copy without YAML's anchors: an override of one use of an anchor must not change the others."""
    if isinstance(value, Mapping):
        return {name: _unshared(item) for name, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _validate(raw: Raw, *, source: explain.Source) -> RunConfig:
    for key, value, node in _walk(raw, schema.run_schema(), ""):
        if key.rsplit(".", 1)[-1] == "gamma":
            raise ConfigError(
                f"{source(key)}: the key `{key}` is refused: gamma, the KL coefficient, is `kl.coefficient`"
            )
        if isinstance(value, bool) and schema.resolve(node).get("type") in ("integer", "number"):
            # pydantic would read true as 1
            raise ConfigError(f"{source(key)}: `{key}` is {explain.show(value)}; allowed: {schema.describe(node)}")
    filled = _with_defaults(raw, schema.run_schema())
    try:
        config = RunConfig.model_validate(filled)
    except ValidationError as error:
        raise ConfigError(explain.explain(error, source)) from None
    _refuse_contradictions(config, source)
    return config


def _refuse_contradictions(config: RunConfig, source: explain.Source) -> None:
    """Objectives that the properties cannot have, and settings that destroy the method: reported before hours of
    training and not after them, when an alignment is set up.
    """
    from pipelines.config.contradictions import refuse_contradictions  # imports torch; mistakes of a key need none

    try:
        refuse_contradictions(config)
    except ConfigError as error:
        raise ConfigError(f"{source('')}: {error}") from error


def _walk(value: object, node: schema.Node, key: str) -> Iterator[tuple[str, object, schema.Node]]:
    if not isinstance(value, Mapping):
        return
    section = schema.section(node, value) or {}
    for name, item in value.items():
        dotted = f"{key}.{name}" if key else str(name)
        field = schema.child(section, str(name)) or {}
        yield dotted, item, field
        yield from _walk(item, field, dotted)


def _with_defaults(value: Any, node: schema.Node) -> Any:
    """`value` with the missing keys of each section taken from the default of that section's place."""
    if not isinstance(value, Mapping):
        return value
    section = schema.section(node, value) or {}
    default = schema.resolve(node).get("default")
    if schema.fields(section) and isinstance(default, Mapping) and _same_kind(value, default):
        value = {**copy.deepcopy(dict(default)), **value}
    return {name: _with_defaults(item, schema.child(section, str(name)) or {}) for name, item in value.items()}


def _same_kind(value: Mapping[str, object], default: Mapping[str, object]) -> bool:
    return value.get("kind", default.get("kind")) == default.get("kind")


def _apply(raw: Raw, override: str) -> str:
    """Set one override in place; returns its dotted key."""
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"override `{override}` must read key=value, such as kl.coefficient=0.2")
    if names[-1] == "gamma":
        raise ConfigError(f"override `{override}`: gamma, the KL coefficient, is `kl.coefficient`")
    value = yaml12.parse_one_line(text, source=f"override `{override}`")
    target, node = raw, schema.run_schema()
    for depth, name in enumerate(names[:-1]):
        node = _known(node, target, names[: depth + 1], override)
        target = _enter(target, name, node, override)
    if names[-1] == "kind" and value in schema.kinds(node):
        _change_kind(target, str(value), node)
    else:
        _known(node, target, names, override)
        target[names[-1]] = value
    return ".".join(names)


def _known(node: schema.Node, target: Raw, names: list[str], override: str) -> schema.Node:
    """The schema of the key `names`, which must exist in the section `target` (described by `node`)."""
    key, parent = ".".join(names), ".".join(names[:-1])
    section = schema.section(node, target)
    if section is None:
        if names[-1] == "kind":
            return {}
        kinds = schema.alternatives(schema.kinds(node))
        raise ConfigError(f"override `{override}`: there is no `{parent}` yet; set `{parent}.kind` first, to {kinds}")
    field = schema.child(section, names[-1])
    if field is not None:
        return field
    if not schema.fields(section):
        raise ConfigError(f"override `{override}`: `{parent}` has no keys below it; allowed: {schema.describe(node)}")
    raise ConfigError(f"override `{override}`: {explain.unknown_key(key, section, section=parent)}")


def _enter(target: Raw, name: str, node: schema.Node, override: str) -> Raw:
    if target.get(name) is None:
        target[name] = copy.deepcopy(schema.resolve(node).get("default")) or {}
    inner = target[name]
    if not isinstance(inner, dict):
        raise ConfigError(f"override `{override}`: `{name}` has no keys below it; allowed: {schema.describe(node)}")
    return inner


def _change_kind(target: Raw, kind: str, node: schema.Node) -> None:
    """Another kind has other keys: keep those that both know."""
    known = schema.fields(schema.kinds(node)[kind])
    for name in [name for name in target if name not in known]:
        del target[name]
    target["kind"] = kind


def _origin_of(key: str, origin: Mapping[str, str], path: str) -> str:
    for overridden, words in origin.items():
        if key == overridden or key.startswith(f"{overridden}."):
            return words
    below = [words for overridden, words in origin.items() if not key or overridden.startswith(f"{key}.")]
    return f"{path} with {' and '.join(below)}" if below else path
