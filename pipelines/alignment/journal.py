"""What an alignment run writes while it runs: `metrics.jsonl`, `groups.jsonl`, `samples.parquet`, the tracker.

All are cut back on resume: what stands there is what led to the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.alignment.loop import Step
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path
from pipelines.output.metrics_log import MetricsLog
from pipelines.run.folder import RunFolder
from pipelines.run.tracking import Tracker, stage_of

VALIDATION = "validation."
SECONDS = "seconds."


class AlignJournal:
    """The record of one run. Rows after `after_step` are cut away first, so that a resumed run logs no step twice.

    A context manager: leaving it closes the tracker.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, *, after_step: int) -> None:
        self._folder = folder
        self._log = MetricsLog(folder.metrics)
        self._log.cut_after(after_step)
        self._groups = MetricsLog(folder.groups)
        self._groups.cut_after(after_step)
        self._rows = self._log.read()
        self._samples = _cut_samples(folder, after_step)
        self._tracker = Tracker(stage_of(config, "align", folder.path))
        samples = {step: list(group) for step, group in groupby(self._samples, key=lambda sample: sample["step"])}
        for row in self._rows:
            self._tracker.log_row(row)
            self._tracker.records("samples", samples.get(row["step"], []))

    def write(self, step: Step, operation: Mapping[str, float]) -> None:
        """Log a finished step, how it went (`ops.*`), its prompts, and the sample rows of its evaluation."""
        whole = sum(step.seconds[phase] for phase in ("experience", "update", "publish"))
        row: dict[str, Any] = {
            "step": step.state.step,
            "policy_version": step.state.policy_version,
            **step.metrics,
            **{f"{SECONDS}{phase}": seconds for phase, seconds in step.seconds.items()},
            f"{SECONDS}step": whole,
            "tokens_per_second": step.metrics["num_tokens"] / whole,
            **operation,
        }
        if step.validation is not None:
            row |= {f"{VALIDATION}{name}": value for name, value in step.validation.metrics.items()}
            row[f"{VALIDATION}score"] = step.validation.score
        self._groups.append({"step": step.state.step, **asdict(step.groups)})
        self._log.append(row)
        self._rows.append(row)
        self._tracker.log_row(row)
        if step.validation is not None and step.validation.samples:
            self._write_samples([dict(sample) for sample in step.validation.samples])

    def _write_samples(self, rows: list[dict[str, Any]]) -> None:
        self._samples += rows
        with atomic_path(self._folder.samples) as temporary:
            pq.write_table(_table(self._samples), temporary)
        self._tracker.records("samples", rows)

    def last_validation(self) -> dict[str, float]:
        """Metrics of the last evaluation, without their prefix; empty before the first."""
        rows = [row for row in self._rows if f"{VALIDATION}score" in row]
        if not rows:
            return {}
        return {name.removeprefix(VALIDATION): value for name, value in rows[-1].items() if name.startswith(VALIDATION)}

    def total_seconds(self) -> float:
        """Wall-clock of all steps and evaluations that are part of the result."""
        phases = [f"{SECONDS}step", f"{SECONDS}validate"]
        return float(sum(row.get(phase, 0.0) for row in self._rows for phase in phases))

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Track the run's final numbers."""
        self._tracker.summary(summary)

    def __enter__(self) -> AlignJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tracker.finish()


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """All columns that any row has: rows of a run that an earlier version began have fewer."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _cut_samples(folder: RunFolder, after_step: int) -> list[dict[str, Any]]:
    """The sample rows up to `after_step`; later ones are removed from the file."""
    if not folder.samples.is_file():
        return []
    table = pq.read_table(folder.samples)
    kept = table.filter(pa.compute.less_equal(table["step"], after_step))
    if len(kept) < len(table):
        with atomic_path(folder.samples) as temporary:
            pq.write_table(kept, temporary)
    rows: list[dict[str, Any]] = kept.to_pylist()
    return rows
