"""Prompts with their responses, from a file: one row per response, or one row per prompt with a list of candidates.

A row has `prompt`, and `response` (text) or `responses` / `candidates` (a list of texts, or of {text, ...}). Rows of
one prompt belong together wherever they stand. Everything else that a row or a candidate says is kept with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allgood.conversations import as_content, prompt_id
from allgood.errors import DataError
from pipelines.config.data import DataSource
from pipelines.data.formats import read_prompt, read_split
from pipelines.data.prepared import Split
from pipelines.data.sources import Row, read_rows

LISTS = ("responses", "candidates")
TEXTS = ("text", "response")  # of a candidate
_READ = ("prompt", "prompt_id", "split", "response", *LISTS)

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """A prompt (canonical text) and its responses; `fields[i]` is what the file says of response i.

    `places[i]` is where response i stands, for messages: "rows.jsonl, line 7".
    """

    prompt: str
    responses: tuple[str, ...]
    fields: tuple[Fields, ...]
    places: tuple[str, ...]
    split: Split | None = None

    @property
    def id(self) -> str:
        """The prompt's name in tables."""
        return prompt_id(self.prompt)


def read_answers(path: Path) -> list[Answered]:
    """All prompts of a file, in order of first appearance.

    Raises:
        DataError: The file cannot be read, a row lacks a field, or a prompt stands in two splits; names the line.
    """
    if not str(path).endswith((".jsonl", ".jsonl.gz", ".parquet")):
        raise DataError(f"{path}: give a .jsonl, .jsonl.gz or .parquet file of prompts and responses")
    if not path.is_file():
        raise DataError(f"{path} is a folder; give a file" if path.is_dir() else f"there is no file {path}")
    found: dict[str, tuple[list[str], list[Fields], list[str]]] = {}
    splits: dict[str, Split | None] = {}
    for row in read_rows(DataSource(path=str(path.absolute()))):
        prompt, split = read_prompt(row), read_split(row)
        if splits.setdefault(prompt, split) != split:
            raise DataError(f"{row.place}: {_two_splits(splits[prompt], split)}")
        responses, fields, places = found.setdefault(prompt, ([], [], []))
        for response, extra in _responses(row):
            responses.append(response)
            fields.append(extra)
            places.append(row.place)
    return [
        Answered(prompt, tuple(responses), tuple(fields), tuple(places), splits[prompt])
        for prompt, (responses, fields, places) in found.items()
    ]


def flat(answers: Sequence[Answered]) -> tuple[list[str], list[str]]:
    """Prompt and response of every row, prompt by prompt."""
    prompts = [answered.prompt for answered in answers for _ in answered.responses]
    return prompts, [response for answered in answers for response in answered.responses]


def _two_splits(first: Split | None, other: Split | None) -> str:
    if first is not None and other is not None:
        return f"this prompt stands in the splits {first!r} and {other!r}; give one"
    here, before = ("no split", f"the split {first!r}") if other is None else (f"the split {other!r}", "no split")
    return f"this prompt has {here} here and {before} in a row before; give `split` in all of its rows, or in none"


def _responses(row: Row) -> Iterator[tuple[str, Fields]]:
    extra = {name: value for name, value in row.values.items() if name not in _READ}
    listed = [name for name in LISTS if row.values.get(name) is not None]
    if not listed:
        yield _text(row, row.values, ("response",), "the row"), extra
        return
    if len(listed) > 1:
        raise DataError(f"{row.place}: the row has {' and '.join(f'`{name}`' for name in listed)}; give one of them")
    name, candidates = listed[0], row.values[listed[0]]
    if not isinstance(candidates, list) or not candidates:
        raise DataError(f"{row.place}: `{name}` must be a list of responses that is not empty")
    for number, candidate in enumerate(candidates, 1):
        if isinstance(candidate, str):
            yield as_content(candidate), extra
        elif isinstance(candidate, Mapping):
            text = _text(row, candidate, TEXTS, f"candidate {number} of `{name}`")
            yield text, extra | {key: value for key, value in candidate.items() if key not in (*_READ, *TEXTS)}
        else:
            raise DataError(
                f"{row.place}: candidate {number} of `{name}` must be text or {{text, ...}}, "
                f"not {type(candidate).__name__}"
            )


def _text(row: Row, values: Fields, names: Sequence[str], what: str) -> str:
    """The text under the first of `names` that is there."""
    for name in names:
        if isinstance(values.get(name), str):
            return as_content(values[name])
    wanted = " or ".join(f"`{name}`" for name in names)
    if what == "the row":
        wanted += f" (or a list under {' or '.join(f'`{name}`' for name in LISTS)})"
    present = ", ".join(f"`{name}`" for name in values) or "nothing"
    raise DataError(f"{row.place}: {what} has no text under {wanted}; it has {present}")
