"""The Python that stands in the documentation's pages."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def python_of_pages() -> Iterator[tuple[str, str]]:
    """(page, text of a block). Pages generated from docstrings are left out: the docstrings are tested themselves."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        if ROOT / "docs" / "reference" / "api" not in page.parents:
            for _, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
                yield page.relative_to(ROOT).as_posix(), dedent(block)


def source_of(block: str) -> str:
    """A block as a program: of a session with a prompt, what was typed."""
    return doctest.script_from_examples(block) if ">>> " in block else block
