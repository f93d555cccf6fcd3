"""Docstrings as Markdown: sections (Args, Returns, ...) become lists, doctests become code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Source):$")
_ITEM = re.compile(r"^    (\w+): (.*)$")
_TITLES = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Raises": "Raises",
    "Source": "Source",
}


def as_markdown(docstring: str) -> str:
    """The whole docstring."""
    return "\n\n".join(_blocks(docstring))


def summary(docstring: str) -> str:
    """Its first paragraph, on one line."""
    return " ".join(docstring.split("\n\n")[0].split())


def _blocks(docstring: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", docstring.strip("\n")):
        lines = paragraph.splitlines()
        section = _SECTION.match(lines[0])
        if section and len(lines) > 1:
            yield _section(section[1], lines[1:])
        elif lines[0].startswith(">>>"):
            yield "\n".join(["```python", *lines, "```"])
        else:
            yield paragraph


def _section(title: str, lines: list[str]) -> str:
    items: list[str] = []
    for line in lines:
        item = _ITEM.match(line) if title != "Returns" and title != "Source" else None
        if item:
            items.append(f"* `{item[1]}`: {item[2]}")
        elif items:
            items[-1] += " " + line.strip()
        else:
            items.append(line.strip())
    head = f"**{_TITLES[title]}**"
    return (
        f"{head}: {items[0]}" if len(items) == 1 and not items[0].startswith("*") else "\n".join([f"{head}\n", *items])
    )
