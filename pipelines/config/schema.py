"""The schema of a run as data: walk it by key, list what is allowed, say it in words.

Works on the JSON schema that pydantic derives from `RunConfig`, where every section, tagged union and range is plain
data. Error messages, overrides and the configuration reference all read it from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

Node = Mapping[str, Any]


@cache
def run_schema() -> Node:
    """JSON schema of a run file."""
    from pipelines.config.run import RunConfig

    return RunConfig.model_json_schema()


def resolve(node: Node) -> Node:
    """Follow a reference and drop an optional null, keeping the place's own default and description."""
    if "$ref" in node:
        target = run_schema()["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        return resolve({**target, **{key: value for key, value in node.items() if key != "$ref"}})
    options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return resolve({**options[0], **{key: value for key, value in node.items() if key != "anyOf"}})
    return node


def kinds(node: Node) -> dict[str, Node]:
    """Kind -> section, for a tagged union; empty for anything else."""
    mapping = resolve(node).get("discriminator", {}).get("mapping", {})
    return {kind: {"$ref": reference} for kind, reference in mapping.items()}


def section(node: Node, value: object) -> Node | None:
    """The section that describes `value`; in a tagged union that of its kind, or of the default one.

    None where there is no such kind.
    """
    choices = kinds(node)
    if not choices:
        return resolve(node)
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind is None:
        kind = (resolve(node).get("default") or {}).get("kind") or resolve(node).get("kind_by_default")
    return resolve(choices[kind]) if isinstance(kind, str) and kind in choices else None


def fields(node: Node) -> dict[str, Node]:
    """Name -> field of a section; empty for what is not a section."""
    return dict(resolve(node).get("properties", {}))


def child(node: Node, key: str) -> Node | None:
    """The field `key` of a section, or the value type of a free mapping; None if there is no such key."""
    node = resolve(node)
    if not node:
        return node  # anything goes: below a free mapping such as `policy.architecture`
    if key in fields(node):
        return fields(node)[key]
    extra = node.get("additionalProperties")
    if isinstance(extra, Mapping):
        return extra
    return {} if extra is True else None


def kind_of(node: Node) -> str | None:
    """The `kind` of a section that belongs to a tagged union."""
    kind = fields(node).get("kind", {}).get("const")
    return kind if isinstance(kind, str) else None


def dotted_keys(node: Node | None = None, prefix: str = "") -> Iterator[str]:
    """Every dotted key of the schema; `*` stands for a name that the user chooses."""
    node = run_schema() if node is None else resolve(node)
    seen: set[str] = set()
    for branch in [resolve(option) for option in kinds(node).values()] or [node]:
        children = dict(fields(branch))
        if isinstance(branch.get("additionalProperties"), Mapping):
            children["*"] = branch["additionalProperties"]
        for name, field in children.items():
            for key in (prefix + name, *dotted_keys(field, f"{prefix}{name}.")):
                if key not in seen:
                    seen.add(key)
                    yield key


def describe(node: Node) -> str:
    """What values are allowed, in words: 'a number > 0', "'auto', 'cpu' or 'cuda'"."""
    nullable = any(option.get("type") == "null" for option in node.get("anyOf", ()))
    words = _describe(resolve(node))
    return f"{words}, or null" if nullable else words


def _describe(node: Node) -> str:
    if kinds(node):
        return "a section with `kind`: " + alternatives(kinds(node))
    if "const" in node:
        return repr(node["const"])
    if "enum" in node:
        return alternatives(node["enum"])
    if "anyOf" in node:
        return ", or ".join(describe(option) for option in node["anyOf"])
    kind = node.get("type")
    if kind in ("number", "integer"):
        return ("a number" if kind == "number" else "a whole number") + _range(node)
    if kind == "string":
        return (
            "a path"
            if node.get("format") == "path"
            else "text"
            + (" (not empty)" if node.get("minLength") else "")
            + (f" matching {node['pattern']}" if "pattern" in node else "")
        )
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        least = node.get("minItems", 0)
        size = f" (at least {least})" if least > 1 else " (not empty)" if least else ""
        return f"a list{size}, each {describe(node.get('items', {}))}"
    if "properties" in node:
        return "a section with " + ", ".join(f"`{name}`" for name in node["properties"])
    if kind == "object":
        values = node.get("additionalProperties")
        names = node.get("propertyNames", {}).get("enum")
        of = alternatives(names) if names else "names"
        return f"a mapping from {of}" + (f", each {describe(values)}" if isinstance(values, Mapping) else "")
    return "any value"


def alternatives(values: object) -> str:
    """'a', 'b' or 'c'."""
    words = [repr(value) for value in values]  # type: ignore[attr-defined]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _range(node: Node) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    bounds = [f"{sign} {node[key]:g}" for key, sign in signs.items() if key in node]
    return " " + " and ".join(bounds) if bounds else ""
