"""Prompts of one source: read, cleaned, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from allgood.errors import DataError
from pipelines.config.data import PromptSource
from pipelines.data.formats import read_prompt, read_split
from pipelines.data.prepared import Report, Split
from pipelines.data.sources import Row, read_rows, unread_columns
from pipelines.data.turns import num_stripped

MAX_EMPTY_SHARE = 0.01
"""More rows than this share without a prompt mean that the column is not what it seems."""


@dataclass(frozen=True)
class RawPrompt:
    """A row's prompt, and the split that the row asks for."""

    text: str
    split: Split | None


def read_prompts(source: PromptSource) -> tuple[list[RawPrompt], Report]:
    """The prompts of a source, and what happened to its rows. Empty ones are dropped, repeated ones serve once.

    Raises:
        DataError: More than 1 % of the rows have no prompt, or a row is wrong.
    """
    rows = read_rows(source)
    empty = [row for row in rows if _is_empty(row)]
    if len(empty) > MAX_EMPTY_SHARE * len(rows):
        raise DataError(
            f"{source.path}: `prompt` is empty in {len(empty)} of {len(rows)} rows, first at {empty[0].place}; at most "
            "1 % are accepted (and dropped), so check the file, or name another column in `data.prompts.columns`"
        )
    prompts = [RawPrompt(read_prompt(row, source.format), read_split(row)) for row in rows if not _is_empty(row)]
    return prompts, _report(rows, prompts)


def _is_empty(row: Row) -> bool:
    """Whether the row has a place for a prompt, and nothing in it."""
    value = row.values.get("prompt", ...)
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _report(rows: Sequence[Row], prompts: Sequence[RawPrompt]) -> Report:
    distinct = len({prompt.text for prompt in prompts})
    return {
        "rows": len(rows),
        "prompts": distinct,
        "dropped_empty": len(rows) - len(prompts),
        "repeated": len(prompts) - distinct,
        "stripped": num_stripped((row for row in rows if not _is_empty(row)), ("prompt", "system")),
        "with_system_turn": sum(prompt.text.startswith("\n\nSystem:") for prompt in prompts),
        **unread_columns(rows),
    }
