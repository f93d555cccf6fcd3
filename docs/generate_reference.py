"""Write `docs/reference/configuration.md` from the schema; with `--check`, only say whether it is up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from actors.tables import markdown_table
from pipelines.config import schema

PAGE = Path(__file__).parent / "reference" / "configuration.md"
HEAD = """# Configuration reference

<!-- Written by `python -m docs.generate_reference` from pipelines/config/; do not edit. -->

One YAML file describes a run, and every command reads it. YAML 1.2: `1e-3` is a number, `on` and `yes` are text, a key
that stands twice is an error. An unknown key is refused with the nearest known one. Any key can be overridden on the
command line, from left to right, with values in YAML:

```bash
allgood config configs/quickstart.yaml kl.coefficient=0.2 properties.helpful.reference.quantile=0.9
```

A key that is absent takes the default of its place, as listed here. A section with `kind` is a choice: each kind has
its own keys, and an override of `kind` drops the keys that the new kind does not have. `<name>` stands for a name of
yours. `allgood config --schema` prints the JSON schema for editors.

"""


def main() -> None:
    """Write the page, or fail when it is out of date."""
    page = HEAD + "\n".join(_sections())
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        sys.exit(f"{PAGE} is out of date; run `python -m docs.generate_reference`")


def _sections() -> Iterator[str]:
    run = schema.run_schema()
    yield "## Top level\n"
    yield from _table(run, "", {})
    for name, field in schema.fields(run).items():
        yield from _section(f"{name}", field, schema.resolve(field).get("default"), depth=2)


def _section(key: str, field: schema.Node, default: object, *, depth: int) -> Iterator[str]:
    """Heading and table of one section, its kinds, and the sections below it."""
    node = schema.resolve(field)
    choices = schema.kinds(node)
    values = node.get("additionalProperties")
    if choices:
        for kind, section in choices.items():
            own = default if isinstance(default, Mapping) and default.get("kind") == kind else {}
            star = ", the default" if own or node.get("kind_by_default") == kind else ""
            yield from _fields(f"{key}", section, own, depth=depth, title=f"`{key}` of kind `{kind}`{star}")
    elif schema.fields(node):
        yield from _fields(key, node, default, depth=depth, title=f"`{key}`")
    elif isinstance(values, Mapping) and (schema.fields(values) or schema.kinds(values)):
        yield from _section(f"{key}.<name>", values, None, depth=depth)


def _fields(key: str, section: schema.Node, default: object, *, depth: int, title: str) -> Iterator[str]:
    node = schema.resolve(section)
    yield f"{'#' * min(depth, 5)} {title}\n"
    yield " ".join(str(node.get("description", "")).split()) + "\n"
    values = default if isinstance(default, Mapping) else {}
    yield from _table(node, f"{key}.", values)
    for name, field in schema.fields(node).items():
        inner = values.get(name, schema.resolve(field).get("default"))
        yield from _section(f"{key}.{name}", field, inner, depth=depth + 1)


def _table(node: schema.Node, prefix: str, values: Mapping[str, object]) -> Iterator[str]:
    rows = [
        _row(prefix + name, field, values, name, node) for name, field in schema.fields(node).items() if name != "kind"
    ]
    if rows:
        yield "\n".join(markdown_table(["key", "value", "default", ""], rows)) + "\n"


def _row(key: str, field: schema.Node, values: Mapping[str, object], name: str, node: schema.Node) -> list[str]:
    resolved = schema.resolve(field)
    required = name in node.get("required", ()) and name not in values
    default = "required" if required else _default(values.get(name, resolved.get("default", "empty")))
    allowed = "a section, see below" if _is_section(resolved) else schema.describe(field)
    if _is_section(resolved):
        default = "required" if required else default if default == "absent" else ""
    meaning = "" if _is_section(resolved) else " ".join(str(field.get("description", "")).split())
    return [f"`{key}`", allowed, default, meaning]


def _is_section(node: schema.Node) -> bool:
    values = node.get("additionalProperties")
    nested = isinstance(values, Mapping) and bool(schema.fields(values) or schema.kinds(values))
    return bool(schema.fields(node) or schema.kinds(node)) or nested


def _default(value: object) -> str:
    if value is None:
        return "absent"
    if value == "empty":
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (list, dict)) and not value:
        return "empty"
    return f"`{value!r}`" if isinstance(value, (list, dict)) else f"`{value}`"


if __name__ == "__main__":
    main()
