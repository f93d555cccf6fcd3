"""Turn pydantic's errors into sentences for the user: where, which key, which value, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from pipelines.config import schema
from pipelines.config.earlier import MOVED

Source = Callable[[str], str]
"""Dotted key -> where it was set: the file, or the override."""


_NAME = "[key]"  # pydantic's word for a name in a mapping, when it is the name that is wrong


@dataclass(frozen=True)
class Place:
    """A position in the run file: its dotted key, the field's schema, and the section around it."""

    key: str
    field: schema.Node
    parent_key: str
    parent: schema.Node


def explain(error: ValidationError, source: Source) -> str:
    """One sentence per problem; several stand on lines of their own."""
    sentences: dict[str, str] = {}
    for item in error.errors(include_url=False):
        place = locate(item["loc"])
        sentences.setdefault(
            place.key, f"{source(place.key)}: {_sentence(item, place)}"
        )  # a union complains once per option
    if len(sentences) == 1:
        return next(iter(sentences.values()))
    return f"{len(sentences)} problems:\n" + "\n".join(f"  {sentence}" for sentence in sentences.values())


def locate(location: Iterable[int | str]) -> Place:
    """Follow pydantic's location, which also names union options, to a dotted key of the file."""
    node = schema.run_schema()
    place = Place("", node, "", node)
    for step in location:
        choices = schema.kinds(place.field)
        if choices:
            place = replace(place, field=schema.resolve(choices[str(step)]))
        elif step == _NAME:
            place = replace(place, field=place.parent["propertyNames"])
        elif "anyOf" not in schema.resolve(place.field):  # else the step is the label of an option, such as `list[str]`
            field = _field(place.field, step)
            place = Place(
                f"{place.key}.{step}" if place.key else str(step), field, place.key, schema.resolve(place.field)
            )
    return place


def _field(node: schema.Node, step: int | str) -> schema.Node:
    if isinstance(step, int):
        items: schema.Node = schema.resolve(node).get("items", {})
        return items
    return schema.child(node, step) or {}


def unknown_key(key: str, parent: schema.Node, *, section: str) -> str:
    """The sentence for a key that the section `parent` does not have, with the nearest one that exists."""
    if key in MOVED:
        return f"`{key}` has moved; write `{MOVED[key]}`"
    siblings = schema.fields(parent)
    kind = schema.kind_of(parent)
    of_kind = f" of kind {kind!r}" if kind else ""
    where = f"in `{section}`" if section else "at the top level"
    nearest = nearest_key(key, siblings, section=section)
    hint = "; allowed"
    if nearest == key:
        hint = f"; it belongs to another `{section}.kind`. Allowed"
    elif nearest:
        hint = f"; did you mean `{nearest}`? Allowed"
    return f"unknown key `{key}`{hint} {where}{of_kind}: {', '.join(sorted(siblings))}"


def nearest_key(key: str, siblings: Iterable[str], *, section: str) -> str | None:
    """The known dotted key nearest to `key`: among its siblings, else by its last name anywhere, nearby first."""
    name = _last(key)
    close = difflib.get_close_matches(name, list(siblings), n=1, cutoff=0.6)
    if close:
        return f"{section}.{close[0]}" if section else close[0]
    keys = sorted(schema.dotted_keys(), key=lambda known: known.split(".")[0] != key.split(".")[0])
    elsewhere = difflib.get_close_matches(name, {_last(known) for known in keys}, n=1, cutoff=0.75)
    return next((known for known in keys if _last(known) in elsewhere), None)


def _last(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _sentence(item: Any, place: Place) -> str:
    problem = item["type"]
    if problem in ("extra_forbidden", "unexpected_keyword_argument"):  # of a section; of one that is a dataclass
        return unknown_key(place.key, place.parent, section=place.parent_key)
    if problem == "missing":
        return f"`{place.key}` is missing; it must be {schema.describe(place.field)}"
    if problem == "union_tag_not_found":
        return f"`{place.key}.kind` is missing; allowed: {schema.alternatives(schema.kinds(place.field))}"
    if problem == "union_tag_invalid":
        return _wrong_choice(f"{place.key}.kind", item["input"].get("kind"), schema.kinds(place.field))
    if problem == "value_error":
        message = str(item["ctx"]["error"])
        return f"`{place.key}`: {message}" if place.key else message
    choices = schema.resolve(place.field).get("enum")
    if choices:
        return _wrong_choice(place.key, item["input"], choices)
    return f"`{place.key}` is {show(item['input'])}; allowed: {schema.describe(place.field)}"


def _wrong_choice(key: str, value: object, choices: Iterable[str]) -> str:
    choices = list(choices)
    close = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean {close[0]!r}? Allowed" if close else "; allowed"
    return f"`{key}` is {show(value)}{hint}: {schema.alternatives(choices)}"


def show(value: object) -> str:
    """A value as the user would write it, cut when long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
