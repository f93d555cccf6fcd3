"""Frozen dataclasses of plain values, written as JSON and read back.

A number that is not finite is written as null and read as NaN. A field whose default is None is left out where it is
None; one without a default is always there. `FLAT` fields stand among the fields of their owner.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from allgood.errors import DataError

T = TypeVar("T")

FLAT = {"flat": True}
"""Metadata of such a field: `field(metadata=FLAT)`."""


def as_json(value: Any) -> Any:
    """Nested dicts, lists and plain values, ready for `write_json`."""
    if is_dataclass(value):
        return _record(value)
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_json(kind: type[T], path: Path) -> T:
    """What a file holds.

    Raises:
        DataError: It holds no JSON, or as in `from_json`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no text
        raise DataError(f"{path} holds no JSON: {error}") from error
    return from_json(kind, content, where=str(path))


def from_json(kind: type[T], content: Any, *, where: str) -> T:
    """A dataclass from what `as_json` makes of it; its types are str, bool, int, float, None, dict, tuple, dataclasses.

    Raises:
        DataError: A field is unknown, missing or of another type; names it by its path behind `where`.
    """
    found: T = _value(kind, content, where)
    return found


def _record(value: Any) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if field.metadata == FLAT:
            record |= _record(content)
        elif content is not None or field.default is not None:
            record[field.name] = as_json(content)
    return record


def _value(kind: Any, content: Any, where: str) -> Any:
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if is_dataclass(origin):
        return _instance(origin, dict(zip(getattr(origin, "__parameters__", ()), parts, strict=True)), content, where)
    if origin in (Union, UnionType):
        (present,) = (part for part in parts if part is not NoneType)
        return None if content is None else _value(present, content, where)
    if origin in (dict, Mapping) and isinstance(content, Mapping):
        return {key: _value(parts[1], item, f"{where}: {key}") for key, item in content.items()}
    if origin is tuple and isinstance(content, list):
        return tuple(_value(parts[0], item, f"{where}: {index}") for index, item in enumerate(content))
    if kind is Any:
        return content
    if kind is float and (content is None or type(content) in (int, float)):
        return math.nan if content is None else float(content)
    if type(content) is kind:
        return content
    raise DataError(f"{where} holds {content!r:.80}, where this version of allgood expects {_name(kind)}")


def _instance(kind: Any, parameters: Mapping[Any, Any], content: Any, where: str) -> Any:
    if not isinstance(content, Mapping):
        raise DataError(f"{where} holds {content!r:.80}, where this version of allgood expects {_name(kind)}")
    unknown = [name for name in content if name not in _names(kind)]
    if unknown:
        raise DataError(f"{where} holds {unknown[0]!r}, which this version of allgood does not know")
    hints = get_type_hints(kind)
    values = {}
    for field in fields(kind):
        hint = parameters.get(hints[field.name], hints[field.name])
        if field.metadata == FLAT:
            own = {name: content[name] for name in _names(hint) if name in content}
            values[field.name] = _instance(hint, {}, own, where)
        elif field.name in content:
            values[field.name] = _value(hint, content[field.name], f"{where}: {field.name}")
        elif _is_required(field):
            raise DataError(f"{where} has no {field.name!r}, which this version of allgood needs")
    return kind(**values)


def _names(kind: Any) -> list[str]:
    """Under which a dataclass's fields are written."""
    hints = get_type_hints(kind)
    return [
        name
        for field in fields(kind)
        for name in (_names(hints[field.name]) if field.metadata == FLAT else [field.name])
    ]


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
