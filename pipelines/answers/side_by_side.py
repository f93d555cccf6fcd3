"""Two policies' answers to one prompt, shown side by side: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Judged:
    """What one property makes of a response."""

    reward: float
    reference: float
    p_good: float


@dataclass(frozen=True)
class Answer:
    """A policy's response. `p_all_good` is P(formula), absent where exponents temper it or the objective is another."""

    policy: str
    response: str
    judged: dict[str, Judged]
    p_all_good: float | None


@dataclass(frozen=True)
class Comparison:
    """Both policies' answers to a prompt, and where its references come from."""

    prompt: str
    answers: tuple[Answer, ...]
    references: str


def show(comparison: Comparison, console: Console) -> None:
    """A table on a terminal, plain lines elsewhere."""
    if console.is_terminal:
        console.print(_table_of(comparison))
        console.print(comparison.references, style="dim", markup=False)
        return
    for line in lines(comparison):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def lines(comparison: Comparison) -> Iterator[str]:
    """The comparison as plain text."""
    yield _asked(comparison.prompt)
    for answer in comparison.answers:
        yield f"{answer.policy}: {answer.response or '(empty)'}"
        for name, judged in answer.judged.items():
            yield f"  {name}: r {judged.reward:.3f}, r_ref {judged.reference:.3f}, P(good) {judged.p_good:.3f}"
        if answer.p_all_good is not None:
            yield f"  P(all good) {answer.p_all_good:.3f}"
    yield comparison.references


def _table_of(comparison: Comparison) -> Table:
    table = Table(title=_plain(_asked(comparison.prompt)), title_justify="left", show_lines=True)
    table.add_column("")
    for answer in comparison.answers:
        table.add_column(answer.policy, ratio=1, overflow="fold")
    answers = comparison.answers
    table.add_row("response", *(_plain(answer.response or "(empty)") for answer in answers))
    for name in answers[0].judged:
        shown = [answer.judged[name] for answer in answers]
        cells = [f"r {part.reward:.2f}   r_ref {part.reference:.2f}   P(good) {part.p_good:.2f}" for part in shown]
        table.add_row(_plain(name), *cells)
    if answers[0].p_all_good is not None:
        table.add_row("P(all good)", *(f"{answer.p_all_good:.2f}" for answer in answers))
    return table


def _plain(text: str) -> str:
    return escape(text)  # a response may contain [brackets]


def _asked(prompt: str) -> str:
    """The prompt without its closing "Assistant:"."""
    return prompt.strip().removesuffix("Assistant:").strip()
