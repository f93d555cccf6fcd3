"""An inspection as a self-contained page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.inspection import words
from pipelines.inspection.inspection import Conversation, Inspection
from pipelines.inspection.reading import Reading
from pipelines.output.files import atomic_path
from pipelines.reporting.html import Markup, Section, code, heading, items, page, paragraph, table, token_row

_UNBROKEN = "\N{NO-BREAK SPACE}"  # a wide table scrolls; numbers do not part from their units
_LEGEND = (
    "Each field is a token. Coloured ones are markup, which no text can spell; the response stands behind the bar. "
    "⏎ is a line break."
)


def write_page(inspection: Inspection, path: Path) -> None:
    """Write the page, all or nothing; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(
            page(f"{inspection.name}: inspection", "What will be read, rewarded and held", list(_sections(inspection))),
            encoding="utf-8",
        )


def _sections(inspection: Inspection) -> Iterator[Section]:
    if inspection.missing:
        yield Section("Not yet", [items(inspection.missing)])
    if inspection.rewards:
        warnings = words.warnings(inspection)
        yield Section(
            "Rewards",
            [
                *([items(f"Warning: {warning}" for warning in warnings)] if warnings else []),
                paragraph(words.rewards_text(inspection)),
                table(words.REWARD_COLUMNS, words.reward_rows(inspection)),
            ],
        )
    sizes = [[cell.replace(" ", _UNBROKEN) for cell in row] for row in words.memory_rows(inspection.roles)]
    yield Section("Memory", [paragraph(words.MEMORY_NOTE), table(words.MEMORY_COLUMNS, sizes)])
    yield Section("How a response ends", [paragraph(words.ending_text(inspection.ending))])
    for number, conversation in enumerate(inspection.conversations):
        legend = [paragraph(_LEGEND)] if number == 0 else []
        yield Section(f"What is read of {conversation.source}", [*legend, *_conversation(conversation)])


def _conversation(conversation: Conversation) -> Iterator[Markup]:
    yield paragraph(f"The response is {conversation.said_by}.")
    for reader, reading in conversation.readings.items():
        yield heading(reader)
        yield paragraph(words.caption(reading, conversation.cuts[reader]))
        if reading.cut_text:
            yield code(reading.cut_text, summary=f"the {reading.num_cut} tokens that were cut")
        yield _tokens(reading)


def _tokens(reading: Reading) -> Markup:
    return token_row(
        [(token.text, token.is_markup, f"{token.id}") for token in reading.tokens],
        response_start=reading.response_start,
    )
