"""From a sweep file and overrides to a checked `SweepConfig` and its base run.

Overrides are those of the run file (`align.steps=10`); with the prefix `sweep.` they concern the sweep file itself
(`sweep.search.trials=5`).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from allgood.errors import ConfigError
from allgood.scorers import yaml12
from pipelines.config import explain, schema
from pipelines.config.loading import load_config, read_yaml
from pipelines.config.run import RunConfig
from pipelines.config.sweep import SweepConfig

_PREFIX = "sweep."
_UNIONS = ("search", "mode", "early_stopping", "space")


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> tuple[SweepConfig, RunConfig]:
    """Read a sweep file and the run file that it names, apply the overrides, check both.

    Raises:
        ConfigError: Names the file or the override, the key, and what is allowed.
    """
    raw = read_yaml(path)
    for override in overrides:
        if override.startswith(_PREFIX):
            _apply(raw, override)
    if "policy" in raw or "properties" in raw:
        raise ConfigError(f"{path} is a run file; a sweep file names one under `run` (docs/how-to/sweep.md)")
    sweep = _validated(raw, str(path))
    _refuse_sections(sweep.overrides, str(path))
    own = [override_text(key, value) for key, value in sweep.overrides.items()]
    given = [override for override in overrides if not override.startswith(_PREFIX)]
    try:
        return sweep, load_config(sweep.run, [*own, *given])
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def override_text(key: str, value: Any) -> str:
    """A change of one key as an override; JSON is YAML."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def _refuse_sections(overrides: Mapping[str, Any], source: str) -> None:
    """ConfigError for a section where a key is meant: it would put every other key of the section to its default."""
    for key, value in overrides.items():
        node = schema.run_schema()
        for name in key.split("."):
            node = schema.child(schema.section(node, {}) or {}, name) or {}
        is_section = isinstance(value, Mapping) and bool(schema.fields(schema.section(node, value) or {}))
        if is_section and value and "kind" not in value:
            first, inner = next(iter(value.items()))
            raise ConfigError(
                f"{source}: `overrides.{key}` is a whole section, whose other keys would lose what the run file says; "
                f"write one key a line, such as {override_text(f'{key}.{first}', inner).replace('=', ': ', 1)}"
            )


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.removeprefix(_PREFIX).partition("=")
    if not equals or not key:
        raise ConfigError(f"override `{override}` must read sweep.key=value, such as sweep.search.trials=5")
    section, dot, below = key.partition(".")
    # Of `overrides` the keys are themselves dotted.
    target, names = raw, [section, below] if dot and section == "overrides" else key.split(".")
    for name in names[:-1]:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override `{override}`: `{name}` has no keys below it")
        target = inner
    target[names[-1]] = yaml12.parse(text, source=f"override `{override}`")


def _validated(raw: Mapping[str, Any], source: str) -> SweepConfig:
    try:
        return SweepConfig.model_validate(raw)
    except ValidationError as error:
        sentences = list(dict.fromkeys(_sentences(error, source)))
    raise ConfigError(
        sentences[0]
        if len(sentences) == 1
        else f"{len(sentences)} problems:\n" + "\n".join(f"  {s}" for s in sentences)
    )


def _sentences(error: ValidationError, source: str) -> Iterator[str]:
    for item in error.errors(include_url=False):
        key = ".".join(_without_tags(item["loc"]))
        if item["type"] == "extra_forbidden":
            yield f"{source}: unknown key `{key}`{_nearest(item['loc'])}"
        elif item["type"] == "missing":
            yield f"{source}: the key `{key}` is missing; docs/how-to/sweep.md shows a whole file"
        elif item["type"] in ("union_tag_not_found", "union_tag_invalid"):
            allowed = item["ctx"].get("expected_tags") or "values, uniform, log_uniform, as docs/how-to/sweep.md says"
            yield f"{source}: `{key}` needs a `kind`; allowed: {allowed}"
        elif item["type"] == "value_error":
            yield f"{source}: {f'`{key}`: ' if key else ''}{item['ctx']['error']}"
        else:
            yield f"{source}: `{key}` is {explain.show(item['input'])}: {item['msg']}"


def _without_tags(location: Sequence[str | int]) -> Iterator[str]:
    """The steps of a key in the file: pydantic also names the option of a union, such as `values` of an axis."""
    kinds = {option["properties"]["kind"]["const"] for option in SweepConfig.model_json_schema()["$defs"].values()}
    for index, step in enumerate(location):
        union = location[0] if index == 2 else location[max(index - 1, 0)]  # an axis stands below its name
        if union not in _UNIONS or step not in kinds:
            yield str(step)


def _nearest(location: Sequence[str | int]) -> str:
    if len(location) > 1:
        return "; docs/how-to/sweep.md lists the keys"
    close = difflib.get_close_matches(str(location[0]), SweepConfig.model_fields, n=1)
    hint = f"; did you mean `{close[0]}`?" if close else ";"
    return f"{hint} Allowed: {', '.join(sorted(SweepConfig.model_fields))}"
