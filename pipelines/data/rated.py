"""Answers with ratings to preference pairs: of each two answers to a prompt, the one that is rated higher is chosen.

A row has one `response`, or several `responses`. A rating is a number, or text that is one. It stands in the answer
under the name of the attribute, or there in `ratings` or `annotations`; or else in the row, for several answers as a
list. Higher is better. Answers to the same prompt belong together, wherever their rows stand.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from allgood.errors import DataError
from pipelines.data.formats import RawPair, read_demonstration, read_prompt, read_split
from pipelines.data.prepared import Report, Split
from pipelines.data.sources import Row

_HOLDERS = ("ratings", "annotations")  # of an answer's ratings
_NUMBERS = ("Rating", "rating", "score", "value")  # where a rating comes with its reasons
_TEXTS = ("text", "response", "content", "answer")  # of an answer that is no message


@dataclass(frozen=True)
class RatedAnswer:
    """An answer to a prompt; `rating` is None where nobody gave one, or where the answer itself is null."""

    place: str
    text: str
    rating: float | None
    split: Split | None


def rated_pairs(rows: Sequence[Row], attribute: str, *, path: str) -> tuple[list[RawPair], Report]:
    """All pairs of differently rated answers to a prompt; `margin` is the difference. What is left out is counted.

    Raises:
        DataError: A row is wrong, no answer has a rating under `attribute`, or none differs from another.
    """
    answers: dict[str, list[RatedAnswer]] = defaultdict(list)
    for row in rows:
        for prompt, answer in _answers(row, attribute):
            answers[prompt].append(answer)
    rated = {prompt: [answer for answer in found if answer.rating is not None] for prompt, found in answers.items()}
    if not any(rated.values()):
        raise DataError(
            f"{path}: no answer has a number under `attribute` {attribute!r}; {rows[0].place} has {_names(rows[0])}"
        )
    compared = [(prompt, a, b) for prompt, found in rated.items() for a, b in combinations(found, 2)]
    different = [(prompt, a, b) for prompt, a, b in compared if a.rating != b.rating]
    pairs = [_pair(prompt, a, b) for prompt, a, b in different if a.text != b.text]
    if not pairs:
        raise DataError(
            f"{path}: no two answers to a prompt have different ratings under {attribute!r}: {len(answers)} prompts, "
            f"{sum(map(len, rated.values()))} rated answers, {len(compared) - len(different)} ties"
        )
    return pairs, {
        "rows": len(rows),
        "answers": sum(map(len, answers.values())),
        "dropped_unrated_answers": sum(len(answers[prompt]) - len(found) for prompt, found in rated.items()),
        "dropped_ties": len(compared) - len(different),
        "dropped_equal_responses": len(different) - len(pairs),
        "dropped_prompts_without_a_pair": len(answers) - len({pair.prompt for pair in pairs}),
    }


def _pair(prompt: str, first: RatedAnswer, second: RatedAnswer) -> RawPair:
    assert first.rating is not None
    assert second.rating is not None
    if first.split and second.split and first.split != second.split:
        raise DataError(
            f"{second.place}: this prompt stands in the split {second.split!r} here and in {first.split!r} at "
            f"{first.place}; a prompt belongs to one split"
        )
    better, worse = (first, second) if first.rating > second.rating else (second, first)
    margin = abs(first.rating - second.rating)
    return RawPair(second.place, prompt, prompt, better.text, worse.text, margin, first.split or second.split)


def _answers(row: Row, attribute: str) -> Iterator[tuple[str, RatedAnswer]]:
    """The prompt and each answer of a row."""
    several = row.values.get("responses")
    if several is not None and not isinstance(several, list):
        raise DataError(f"{row.place}: `responses` must be a list of answers, not {type(several).__name__}")
    if several is None and "response" not in row.values:
        raise DataError(f"{row.place}: there is neither `response` nor `responses`; the row has {_names(row)}")
    for number, answer in enumerate([row.values.get("response")] if several is None else several):
        text = _text(row, answer)
        if text is None:
            yield read_prompt(row), RatedAnswer(row.place, "", None, read_split(row))
            continue
        found = read_demonstration(Row(row.place, {**row.values, "response": text}, row.unread))
        ratings = [_below(answer, attribute), *(_below(_at(answer, holder), attribute) for holder in _HOLDERS)]
        of_row = _below(row.values, attribute)
        if isinstance(of_row, list):
            if several is None or len(of_row) != len(several):
                raise DataError(f"{row.place}: `{attribute}` must have one rating for each answer")
            of_row = of_row[number]
        rating = next((value for value in map(_number, [*ratings, of_row]) if value is not None), None)
        yield found.prompt, RatedAnswer(row.place, found.response, rating, found.split)


def _text(row: Row, answer: object) -> object:
    """What an answer says, as text or messages; None where it is null."""
    if not isinstance(answer, Mapping) or "role" in answer:
        return answer
    named = [name for name in _TEXTS if name in answer]
    if not named:
        has = ", ".join(f"`{name}`" for name in answer)
        raise DataError(f"{row.place}: an answer has its text in none of {', '.join(_TEXTS)}; it has {has}")
    return answer[named[0]]


def _below(value: object, path: str) -> object:
    """What stands at a dotted path below a value; None where nothing does."""
    for name in path.split("."):
        value = _at(value, name)
    return value


def _at(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None


def _number(value: Any) -> float | None:
    """A rating as a number; None for what is none, such as "N/A"."""
    if isinstance(value, Mapping):
        return next((number for name in _NUMBERS if (number := _number(value.get(name))) is not None), None)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _names(row: Row) -> str:
    """The columns of a row, and what its first answer has."""
    names = ", ".join(f"`{name}`" for name in (*row.values, *row.unread))
    several = row.values.get("responses")
    if isinstance(several, list) and several and isinstance(several[0], Mapping):
        names += "; an answer has " + ", ".join(f"`{name}`" for name in several[0])
    return names
