"""An order of which every stretch holds every group in proportion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


def in_proportion(groups: Mapping[Any, Sequence[Item]]) -> list[Item]:
    """All members, those of each group in their order, evenly spread; groups tie in the order of their keys."""
    ranked = [
        ((position + 0.5) / len(members), key, member)
        for key, members in groups.items()
        for position, member in enumerate(members)
    ]
    return [member for _, _, member in sorted(ranked, key=lambda entry: entry[:2])]
