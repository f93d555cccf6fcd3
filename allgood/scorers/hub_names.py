"""Models by one name: a folder, or a name on the Hugging Face hub, with its revision as `owner/name@revision`.

A branch moves, so a run writes down the commit that it started with; everything that loads a model reads it from here.
"""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


def split_revision(source: str | Path) -> tuple[str, str | None]:
    """Name and revision of a model; a folder, also one with an @ in its path, has no revision.

    >>> split_revision("owner/name@v1.0")
    ('owner/name', 'v1.0')
    """
    name, _, revision = str(source).partition("@")
    if not revision or Path(source).exists() or not _NAME.fullmatch(name):
        return str(source), None
    return name, revision


def at_revision(name: str, revision: str | None) -> str:
    """The inverse of `split_revision`.

    >>> at_revision("owner/name", "v1.0")
    'owner/name@v1.0'
    """
    return name if revision is None else f"{name}@{revision}"


def is_hub_name(source: str | Path) -> bool:
    """Whether `source` is no folder here and may be a name on the hub."""
    name, _ = split_revision(source)
    return _NAME.fullmatch(name) is not None and not Path(name).exists()
