"""Two policies' answers to one prompt, shown side by side: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from allgood.all_good import Judged


@dataclass(frozen=True)
class Answer:
    """A policy's response and what the run makes of it, as one row."""

    policy: str
    response: str
    judged: Judged

    @property
    def p_all_good(self) -> float | None:
        """P(formula), absent where exponents temper it or the objective is another."""
        found = self.judged.p_all_good
        return None if found is None else float(found.flat[0])

    def numbers(self) -> dict[str, tuple[float, float, float]]:
        """Reward, reference and P(good) of each property."""
        return {
            name: (float(view.rewards.flat[0]), float(view.references.flat[0]), float(view.p_good.flat[0]))
            for name, view in self.judged.properties.items()
        }


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
        for name, (reward, reference, p_good) in answer.numbers().items():
            yield f"  {name}: r {reward:.3f}, r_ref {reference:.3f}, P(good) {p_good:.3f}"
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
    for name in answers[0].judged.properties:
        shown = [answer.numbers()[name] for answer in answers]
        cells = [f"r {reward:.2f}   r_ref {reference:.2f}   P(good) {good:.2f}" for reward, reference, good in shown]
        table.add_row(_plain(name), *cells)
    if answers[0].p_all_good is not None:
        table.add_row("P(all good)", *(f"{answer.p_all_good:.2f}" for answer in answers))
    return table


def _plain(text: str) -> str:
    return escape(text)  # a response may contain [brackets]


def _asked(prompt: str) -> str:
    """The prompt without its closing "Assistant:"."""
    return prompt.strip().removesuffix("Assistant:").strip()
