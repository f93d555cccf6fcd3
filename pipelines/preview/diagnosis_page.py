"""The diagnosis of a preview: computed, and shown in the terminal, on the page and in `summary.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from allgood.diagnosis.diagnose import diagnose
from allgood.diagnosis.found import Diagnosis
from pipelines.output.progress import track
from pipelines.preview.diagnosis import Diagnosable
from pipelines.preview.diagnosis_words import (
    COLUMNS,
    contrast_rows,
    coordinate_rows,
    details,
    headline,
    to_know_more,
)
from pipelines.preview.run import Preview
from pipelines.reporting.html import Section, heading, items, paragraph, table

TITLE = "Does the choice of objective matter here?"


def diagnosis_of(found: Preview) -> Diagnosis | None:
    """The diagnosis of a preview's samples; None where they cannot be diagnosed."""
    samples = found.diagnosable.samples
    if samples is None:
        return None
    with track(f"diagnosing {samples.num_prompts} prompts x {samples.num_samples} samples", 1) as bar:
        diagnosis = diagnose(samples)
        bar.advance()
    return diagnosis


def diagnosis_summary(found: Diagnosis | None, what: Diagnosable) -> dict[str, Any]:
    """All values, with verdicts and sentences; what is infinite or unknown is null."""
    if found is None:
        return {"answer": what.why_not, "judge": None}
    values: dict[str, Any] = _finite(asdict(found))
    for contrast, raw in zip(found.contrasts, values["contrasts"], strict=True):
        raw["verdict"] = contrast.verdict
    sentences = {"answer": headline(found), "details": details(found), "to_know_more": to_know_more(found)}
    return {"judge": what.judge, **sentences, **values}


def show_diagnosis(found: Diagnosis | None, what: Diagnosable, console: Console) -> None:
    """The answer, the differences behind it, and what would show more."""
    console.print(f"\n{TITLE}", style="bold", markup=False, highlight=False)
    if found is None:
        console.print(what.why_not, markup=False, highlight=False)
        return
    console.print(headline(found), markup=False, highlight=False)
    if found.contrasts:
        shown = Table(title=_caption(what), title_justify="left")
        for column in COLUMNS:
            shown.add_column(column, justify="right")
        for row in contrast_rows(found):
            shown.add_row(*row)
        console.print(shown)
    for line in details(found):
        console.print(line, markup=False, highlight=False)
    for line in to_know_more(found):
        console.print(f"To know more: {line}", markup=False, highlight=False)


def diagnosis_section(found: Diagnosis | None, what: Diagnosable) -> Section:
    """The same on the page, with the coordinates."""
    if found is None:
        return Section(TITLE, [paragraph(what.why_not)])
    parts = [paragraph(headline(found))]
    if found.contrasts:
        parts.append(table(COLUMNS, contrast_rows(found), caption=_caption(what)))
    parts.append(items(details(found)))
    rows = coordinate_rows(found)
    if rows:
        parts += [
            heading("Where this run lies on the map"),
            table(
                ("coordinate", "value [95 %]", "what it is"), rows, caption="Sampling noise is taken out of variations."
            ),
        ]
    return Section(TITLE, [*parts, heading("To know more"), items(to_know_more(found))])


def _caption(what: Diagnosable) -> str:
    return f"differences of the all-good rate by {what.judge}, at equal mean KL in nats [95 %]"


def _finite(value: Any) -> Any:
    """Numbers of nested values, with null for those that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
