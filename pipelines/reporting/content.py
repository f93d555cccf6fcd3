"""What a report is about, read from run folders: config, metrics, measurements, reports of what was trained before."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.config.loading import load_run
from pipelines.config.run import RunConfig
from pipelines.evaluation.entry import TRAINING_REWARD, ArmSummary, Comparison, Headlines, policy_entry
from pipelines.evaluation.measurements import Measurements
from pipelines.output.metrics_log import MetricsLog
from pipelines.output.typed_json import read_json
from pipelines.references.table import MANIFEST, TABLE
from pipelines.run.folder import RunFolder

Report = Mapping[str, Any]
"""What a training left in its `report.json`, or a manifest."""


@dataclass(frozen=True)
class Policy:
    """An aligned policy: its numbers, and what was logged while it was trained."""

    name: str
    arm: ArmSummary
    metrics: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    samples: Sequence[Mapping[str, Any]] = field(default_factory=tuple)  # the last validation samples


@dataclass(frozen=True)
class TrainedScorer:
    """A reward model, held-out evaluator or probe: its report, and its reliability plot where there is one."""

    label: str
    report: Report
    reliability: bytes | None


@dataclass(frozen=True)
class Content:
    """Everything that the sections of a report read."""

    title: str
    subtitle: str
    config: RunConfig
    config_text: str
    hashes: Mapping[str, str]
    sft: Headlines | None
    policies: Sequence[Policy]
    chosen: int | None
    measurements: Measurements | None  # of `allgood evaluate`, for a single run
    scorers: Sequence[TrainedScorer]
    sft_report: Report | None
    references: Report | None  # the manifest
    reference_rows: Sequence[Mapping[str, Any]]
    data_report: Report | None
    notes: Sequence[str]


def run_content(run_folder: Path) -> Content:
    """A single run. Before `allgood evaluate` its numbers are those of the last validation.

    Raises:
        ConfigError: The folder holds no run.
        DataError: This version does not know how to read its measurements.
    """
    folder = RunFolder(run_folder)
    config, text = _config(folder)
    summary = read_summary(folder)
    path = folder.evaluation / "measurements.json"
    measurements = read_json(Measurements, path) if path.is_file() else None
    arm = ArmSummary(
        objective=config.objective.kind,
        gamma=summary.get("gamma"),
        seconds=summary.get("seconds"),
        headlines=_aligned(measurements) if measurements else Headlines(kl=summary.get("kl")),
    )
    policy = Policy(config.name, arm, MetricsLog(folder.metrics).read(), _last_samples(folder.samples))
    not_evaluated = "This run was not evaluated on test prompts; `allgood evaluate RUN` does that."
    return _content(
        config,
        text,
        title=f"Run {config.name}",
        subtitle=_subtitle(measurements, summary.get("steps")),
        sft=policy_entry(measurements.sft) if measurements else None,
        policies=[policy],
        chosen=None,
        measurements=measurements,
        notes=measurements.notes if measurements else [not_evaluated],
    )


def group_content(folder: Path, summary: Comparison) -> Content:
    """Several arms on one base; those trained in `arms/<name>` add curves.

    Raises:
        ConfigError: The folder holds no run file.
    """
    config, text = _config(RunFolder(folder))
    policies = []
    for arm in summary.arms:
        name = arm.name or f"{arm.objective}_{arm.gamma:.4g}"
        run = RunFolder(folder / "arms" / name)
        policies.append(Policy(name, arm, MetricsLog(run.metrics).read(), _last_samples(run.samples)))
    notes = [
        "Measured by gold alone. The learned evaluators of the paper (held-out preference models) are not used here; "
        "`allgood evaluate` uses them where they were trained.",
        "Arms are to be compared at equal KL, not at equal gamma: the utilities of different objectives have different "
        "scales. One seed cannot decide between objectives; the study compares them over seeds.",
        *(summary.notes or ()),
    ]
    took = f", {summary.seconds / 60:.1f} minutes in all" if summary.seconds else ""
    return _content(
        config,
        text,
        title=f"Comparison {config.name}",
        subtitle=f"{len(policies)} aligned policies against one start policy{took}",
        sft=summary.sft.headlines,
        policies=policies,
        chosen=summary.chosen_arm,
        measurements=None,
        notes=notes,
    )


def read_summary(folder: RunFolder) -> dict[str, Any]:
    """What `summary.json` holds; empty before a run has one."""
    return _json(folder.summary) or {}


def _content(config: RunConfig, text: str, **parts: Any) -> Content:
    base = RunFolder(config.base_folder)
    manifest = _json(base.references / MANIFEST)
    hashes = {"config.yaml": hashlib.sha256(text.encode()).hexdigest()}
    hashes |= {name: str(value) for name, value in (manifest or {}).get("keys", {}).items() if _is_hash(value)}
    table = base.references / TABLE
    data = _json(base.data / "manifest.json")
    return Content(
        config=config,
        config_text=text,
        hashes=hashes,
        scorers=_scorers(base, config),
        sft_report=_json(base.sft / "report.json") if config.sft else None,
        references=manifest,
        reference_rows=pq.read_table(table).to_pylist() if table.is_file() else [],
        data_report=data["report"] if data else None,
        **parts,
    )


def _scorers(base: RunFolder, config: RunConfig) -> list[TrainedScorer]:
    found = []
    for name in config.properties:
        for label, folder in ((f"{name} reward", base.reward(name)), (f"{name} evaluator", base.evaluator(name))):
            report = _json(folder / "report.json")
            if report is not None:
                picture = folder / "plots" / "reliability.png"
                found.append(TrainedScorer(label, report, picture.read_bytes() if picture.is_file() else None))
        probe = _json(base.reward(name) / "probe.json")
        if probe is not None:
            found.append(TrainedScorer(f"{name} probe (linear, frozen encoder)", probe, None))
    return found


def _config(folder: RunFolder) -> tuple[RunConfig, str]:
    return load_run(folder.path), folder.config.read_text(encoding="utf-8")


def _aligned(measurements: Measurements) -> Headlines:
    """Where there is no gold, the gain per prompt is that by held-out evaluators, or else by the training rewards."""
    headlines = policy_entry(measurements.aligned)
    if headlines.improvement:
        return headlines
    judged = measurements.evaluators or measurements.reward_models
    gains = {name: found.improvement for name, found in judged.items() if math.isfinite(found.improvement.mean)}
    judge = "evaluator 2" if measurements.evaluators else TRAINING_REWARD
    return replace(headlines, improvement=gains, improvement_by=judge)


def _subtitle(measurements: Measurements | None, steps: int | None) -> str:
    trained = f"{steps} steps" if steps is not None else "not trained to the end"
    if measurements is None:
        return f"{trained}, not evaluated on test prompts"
    return f"{trained}, measured on {measurements.num_prompts} test prompts × {measurements.num_samples} samples"


def _last_samples(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    last = max(row["step"] for row in rows)
    return [row for row in rows if row["step"] == last]


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) >= 32
