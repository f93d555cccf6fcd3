"""`allgood report`: one self-contained HTML page about a run, or about several arms; its plots as PNGs too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.evaluation.entry import Comparison
from pipelines.output.files import atomic_path
from pipelines.output.progress import say
from pipelines.output.typed_json import as_json, read_json
from pipelines.reporting import inputs, judgements, results, training
from pipelines.reporting.content import Content, group_content, read_summary, run_content
from pipelines.reporting.elsewhere import where_objectives_matter
from pipelines.reporting.html import Picture, Section, items, page, paragraph
from pipelines.run.folder import RunFolder
from pipelines.run.locks import writing_pages
from pipelines.run.tracking import Tracker, stage_of


def write_report(run_folder: Path) -> Path:
    """The report of a run, or of the comparison whose `summary.json` lies there. Returns the page's path.

    Raises:
        ConfigError: The folder holds no run.
        DataError: This version does not know how to read what is stored there.
    """
    folder = RunFolder(run_folder)
    if "arms" in read_summary(folder):
        return write_group_report(run_folder, read_json(Comparison, folder.summary))
    return _write(folder, run_content(run_folder))


def write_group_report(folder: Path, summary: Comparison) -> Path:
    """The report of several arms on one base. Returns the page's path.

    Raises:
        ConfigError: The folder holds no run file.
    """
    return _write(RunFolder(folder), group_content(folder, summary))


def sections(content: Content) -> list[Section]:
    """All parts of the page, in reading order."""
    return [
        results.main_table(content),
        results.against_kl(content),
        results.improvement(content),
        results.shortcuts(content),
        judgements.evaluators(content),
        judgements.learned_scorers(content),
        judgements.responses(content),
        training.training_curves(content),
        inputs.reward_models(content),
        inputs.references(content),
        inputs.dropped(content),
        inputs.what_was_run(content),
        Section("Notes", [items(content.notes) if content.notes else paragraph("None.")]),
    ]


def _write(folder: RunFolder, content: Content) -> Path:
    with writing_pages(folder.path, "report"):
        return _written(folder, content)


def _written(folder: RunFolder, content: Content) -> Path:
    parts = sections(content)
    if len(content.policies) > 1:
        parts += where_objectives_matter(folder.path)
    plots = {part.name: folder.plots / f"{part.name}.png" for part in _pictures(parts)}
    for picture in _pictures(parts):
        with atomic_path(plots[picture.name]) as temporary:
            temporary.write_bytes(picture.png)
    with atomic_path(folder.report) as temporary:
        temporary.write_text(page(content.title, content.subtitle, parts), encoding="utf-8")
    _track(folder, content, plots)
    say(f"report: {folder.report}")
    return folder.report


def _pictures(parts: Sequence[Section]) -> list[Picture]:
    return [part for section in parts for part in section.body if isinstance(part, Picture)]


def _track(folder: RunFolder, content: Content, plots: Mapping[str, Path]) -> None:
    """The plots, and every policy's headline numbers as a table; the chosen arm's are the summary."""
    entries = {"π0": as_json(content.sft) or {}}
    entries |= {policy.name: as_json(replace(policy.arm, measurement=None)) for policy in content.policies}
    chosen = content.policies[content.chosen or 0]
    with Tracker(stage_of(content.config, "report", folder.path)) as tracker:
        tracker.summary({"sft": entries["π0"], "aligned": entries[chosen.name]})
        tracker.records("policies", [{"policy": name, **entry} for name, entry in entries.items()])
        for name, path in plots.items():
            tracker.image(name, path)
