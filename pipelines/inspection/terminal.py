"""An inspection as text for the terminal: readable without colours too."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from actors.tables import text_table
from pipelines.inspection import words
from pipelines.inspection.inspection import Conversation, Inspection
from pipelines.inspection.reading import Reading, Token

LEGEND = (
    "Tokens are parted by │; ⟦...⟧ is markup, which no text can spell; the response starts at ▶; ⏎ is a line break."
)
_HEAD, _TAIL = 120, 80  # tokens shown of a long conversation; the page has all


def show(inspection: Inspection) -> None:
    """Print it to standard output; lines are not broken, so that a table stays one."""
    console = Console()
    for line in lines(inspection):
        console.print(line, soft_wrap=True, highlight=False)


def lines(inspection: Inspection) -> Iterator[Text]:
    """The whole text."""
    yield Text(f"{inspection.name}: what will be read, rewarded and held", style="bold")
    for sentence in inspection.missing:
        yield Text(f"not yet: {sentence}", style="yellow")
    yield Text()
    yield Text(words.ending_text(inspection.ending))
    yield Text(LEGEND, style="dim")
    for conversation in inspection.conversations:
        yield from _conversation(conversation)
    if inspection.rewards:
        yield from _heading("rewards")
        yield Text(words.rewards_text(inspection).replace("`", ""))
        yield from map(Text, text_table(words.REWARD_COLUMNS, words.reward_rows(inspection)))
        for sentence in words.warnings(inspection):
            yield Text(f"warning: {sentence}", style="bold yellow")
    yield from _heading("memory")
    yield Text(words.MEMORY_NOTE)
    yield from map(Text, text_table(words.MEMORY_COLUMNS, words.memory_rows(inspection.roles)))


def _heading(title: str) -> Iterator[Text]:
    yield Text()
    yield Text(title, style="bold")


def _conversation(conversation: Conversation) -> Iterator[Text]:
    yield from _heading(words.title_of(conversation))
    for reader, reading in conversation.readings.items():
        yield Text(f"  {reader}: {words.caption(reading, conversation.cuts[reader])}", style="cyan")
        if reading.cut_text:
            yield Text(f"    cut: {_visible(reading.cut_text[-200:])}", style="dim")
        yield _tokens(reading)


def _tokens(reading: Reading) -> Text:
    text = Text("    ")
    num_hidden = len(reading.tokens) - _HEAD - _TAIL
    for index, token in enumerate(reading.tokens):
        if num_hidden > 0 and _HEAD <= index < _HEAD + num_hidden:
            if index == _HEAD:
                text.append(f"│... {num_hidden} tokens ...", style="dim")
            continue
        text.append("▶" if index == reading.response_start else "│" if index else "", style="dim")
        text.append(_spelling(token), style="magenta" if token.is_markup else "")
    if reading.response_start == len(reading.tokens) > 0:
        text.append("▶", style="dim")
    return text


def _spelling(token: Token) -> str:
    return f"⟦{token.text}⟧" if token.is_markup else _visible(token.text)


def _visible(text: str) -> str:
    return text.replace("\n", "⏎").replace("\t", "⇥")
