"""The files of a preview: `settings.parquet`, `summary.json`, `preview.html` and its plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from allgood.diagnosis.found import Diagnosis
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path, write_json
from pipelines.preview import figures
from pipelines.preview.diagnosis_page import diagnosis_of, diagnosis_section, diagnosis_summary, show_diagnosis
from pipelines.preview.rows import Row, row_of, rows_of
from pipelines.preview.run import Preview, predict_grid
from pipelines.preview.summary import COLUMNS, METRIC_NAMES, best_rows, cells, notes, setting_name, show, summary_of
from pipelines.reporting.html import Interactive, Markup, Picture, Section, code, items, page, table
from pipelines.run.folder import RunFolder
from pipelines.run.locks import reading_base, writing_pages

SETTINGS, SUMMARY, PAGE = "settings.parquet", "summary.json", "preview.html"


def preview(config: RunConfig, config_path: Path) -> dict[str, Any]:
    """Predict the grid of `config.preview`, write the results into the run folder, show the best; returns the summary.

    `config_path` is what the user gave, for the command that is shown.

    Raises:
        AllgoodError: As in `predict_grid`; or the base is being made anew.
    """
    with reading_base(config.base_folder, "preview"):
        found = predict_grid(config)
    summary = summary_of(found)
    diagnosis = diagnosis_of(found)
    summary["diagnosis"] = diagnosis_summary(diagnosis, found.diagnosable)
    with writing_pages(config.folder, "preview"):
        write_preview(found, summary, RunFolder(config.folder).preview, diagnosis)
    console = Console()
    show(summary, config, config_path, console)
    show_diagnosis(diagnosis, found.diagnosable, console)
    return summary


def write_preview(found: Preview, summary: Mapping[str, Any], folder: Path, diagnosis: Diagnosis | None) -> None:
    """Write all files of a preview into `folder`."""
    rows = rows_of(found)
    with atomic_path(folder / SETTINGS) as temporary:
        pq.write_table(pa.Table.from_pylist(_with_all_columns(rows)), temporary)
    write_json(folder / SUMMARY, summary)
    sections = [*_sections(found, summary), diagnosis_section(diagnosis, found.diagnosable)]
    for section in sections:
        for part in section.body:
            if isinstance(part, Picture):
                with atomic_path(folder / f"{part.name}.png") as temporary:
                    temporary.write_bytes(part.png)
    title = f"Preview of {found.config.name}"
    subtitle = "what each setting would reach, from samples of the start policy alone; nothing was trained"
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text(page(title, subtitle, sections), encoding="utf-8")


def _with_all_columns(rows: Sequence[Row]) -> list[Row]:
    """The first row decides a table's columns: give it every name."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _sections(found: Preview, summary: Mapping[str, Any]) -> list[Section]:
    distinct = [row_of(found, setting, prediction) for setting, prediction in found.distinct]
    rows = [row for row in distinct if row.get("kl") is not None]
    front = summary["pareto_front"]
    metric = summary["headline"]
    metrics = _metrics(found, metric)
    baseline = 0.5 if metric.endswith("win_rate") else summary["sft"][metric]
    caption = "Each mark is a setting: circles tilt, diamonds best-of-k; hollow: too few samples for that KL."
    pictures = [
        Picture(
            "frontier",
            figures.frontier_png(rows, front, metric, baseline),
            f"{METRIC_NAMES[metric]} of every setting over its predicted KL",
            "Every setting by its objective. Hollow marks: the samples do not support that KL.",
        )
    ]
    pair, shown_kls = _pair(found), _reached(found.config.preview.target_kls, rows)
    if pair is not None and shown_kls:
        png = figures.trade_off_png(rows, pair, shown_kls[:6])
        caption_pair = "What a gain in one property costs the other, at equal predicted KL; colours as above."
        pictures.append(Picture("trade_off", png, f"{pair[1]} against {pair[0]} at each target KL", caption_pair))
    shortcuts = figures.shortcuts_png(
        _series(summary, rows), {k: v for k, v in summary["sft"].items() if v is not None}
    )
    alt = "rates of lists, consult phrases, refusals, repetition and length over KL"
    pictures.append(Picture("shortcuts", shortcuts, alt, "What the optimum would do more, or less, often than π0."))
    return [
        Section(f"Best settings by {METRIC_NAMES[metric]}", [*_best_tables(summary), items(notes(summary))]),
        Section("All settings", [Interactive(figures.interactive(rows, front, metrics), caption)]),
        Section("Plots", pictures),
    ]


def _best_tables(summary: Mapping[str, Any]) -> list[Markup]:
    rows = best_rows(summary)
    shown = "\n".join(
        f"KL {row['kl']:.2f}:\n  " + "\n  ".join(row["overrides"] or ["nothing: the run file as it is"])
        for row in rows
        if row["method"] == "tilt"
    )
    return [
        table((*COLUMNS, "setting"), [[*cells(summary, row), setting_name(row)] for row in rows]),
        code(shown, summary="overrides for `allgood align CONFIG`, one per line"),
    ]


def _metrics(found: Preview, headline: str) -> dict[str, str]:
    """Columns that the interactive plot offers, the headline first."""
    offered = [headline, *(name for name in METRIC_NAMES if name in _columns(found)), "both_win_rate", "utility_gain"]
    offered += [*found.measures.comparisons, *found.measures.names]
    return {name: METRIC_NAMES.get(name, name.replace("_", " ").replace(".", ": ")) for name in dict.fromkeys(offered)}


def _columns(found: Preview) -> set[str]:
    return {name for _, prediction in found.distinct for name in prediction.numbers}


def _pair(found: Preview) -> tuple[str, str] | None:
    """The win rates of the first two properties by whoever judges here; None with one property."""
    for judge in ("gold", "evaluator", "reward"):
        names = [name for name in found.measures.comparisons if name.startswith(f"{judge}_win_rate.")]
        if len(names) >= 2:
            return names[0], names[1]
    return None


def _reached(targets: Sequence[float], rows: Sequence[Row]) -> list[float]:
    """The target KLs that some setting has, although ties may leave others without any."""
    return [target for target in targets if any(row["target_kl"] == target for row in rows)]


def _series(summary: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The run file's own setting and the best tilts, each over all its KLs."""
    chosen: dict[str, int] = {}
    if summary["own"]:
        chosen["the run file's own"] = summary["own"][0]["setting"]
    for entry in summary["best"]:
        best = entry["best"]
        if best["method"] == "tilt" and best["setting"] not in chosen.values():
            chosen[setting_name(best)] = best["setting"]
    return {
        label: figures.by_kl(row for row in rows if row["setting"] == index and row["method"] == "tilt")
        for label, index in chosen.items()
    }
