"""Which version of the numbers a stored result is of, and one page from results of one version only.

Results that were stored before there were stamps count as one version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from allgood.errors import DataError

STAMP = "numbers_version"
NUMBERS_VERSION = 2
"""To be raised by every change after which the same run file and seed give other numbers.

2: warm-up and weight decay mean in an alignment what they mean in a training.
"""


def stamped(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with the version of the code that made it."""
    return {STAMP: NUMBERS_VERSION, **result}


def is_of_today(result: Mapping[str, Any]) -> bool:
    """Whether a stored result is of the version that this code makes."""
    return bool(result.get(STAMP) == NUMBERS_VERSION)


def load_together(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Stored results that stand on one page.

    Raises:
        DataError: They are of different versions; names a file of each.
    """
    found = {path: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    refuse_mixed({str(path): result for path, result in found.items()})
    return list(found.values())


def refuse_mixed(results: Mapping[str, Mapping[str, Any]]) -> None:
    """DataError when results, by where they lie, are of different versions."""
    places = {result.get(STAMP): place for place, result in results.items()}
    if len(places) > 1:
        each = "; ".join(f"{place} is {_in_words(version)}" for version, place in places.items())
        raise DataError(f"a page never mixes versions of numbers, but {each}; make the older ones again")


def _in_words(version: int | None) -> str:
    return "older than such versions" if version is None else f"of version {version}"
