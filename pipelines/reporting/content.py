"""What a report is about, read from run folders: config, metrics, measurements, reports of what was trained before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.config.loading import load_run
from pipelines.config.run import RunConfig
from pipelines.output.metrics_log import MetricsLog
from pipelines.references.table import MANIFEST, TABLE
from pipelines.run.folder import RunFolder

Entry = Mapping[str, Any]
"""Flat headline numbers of one policy, as in `summary.json`."""


@dataclass(frozen=True)
class Policy:
    """An aligned policy: its numbers, and what was logged while it was trained."""

    name: str
    entry: Entry
    metrics: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    samples: Sequence[Mapping[str, Any]] = field(default_factory=tuple)  # the last validation samples


@dataclass(frozen=True)
class TrainedScorer:
    """A reward model, held-out evaluator or probe: its report, and its reliability plot where there is one."""

    label: str
    report: Entry
    reliability: bytes | None


@dataclass(frozen=True)
class Content:
    """Everything that the sections of a report read."""

    title: str
    subtitle: str
    config: RunConfig
    config_text: str
    hashes: Mapping[str, str]
    sft: Entry | None
    policies: Sequence[Policy]
    chosen: int | None
    measurements: Entry | None  # of `allgood evaluate`, for a single run
    scorers: Sequence[TrainedScorer]
    sft_report: Entry | None
    references: Entry | None  # the manifest
    reference_rows: Sequence[Mapping[str, Any]]
    data_report: Entry | None
    notes: Sequence[str]


def run_content(run_folder: Path) -> Content:
    """A single run. Before `allgood evaluate` its numbers are those of the last validation.

    Raises:
        ConfigError: The folder holds no run.
    """
    folder = RunFolder(run_folder)
    config, text = _config(folder)
    summary = read_summary(folder)
    measurements = _json(folder.evaluation / "measurements.json")
    evaluation = summary.get("evaluation") or {}
    entry = {**evaluation.get("aligned", {}), "gamma": summary.get("gamma"), "seconds": summary.get("seconds")}
    entry["objective"] = config.objective.kind
    if not evaluation:
        entry["kl"] = summary.get("kl")
    if measurements and not entry.get("improvement"):
        entry |= _learned_improvement(measurements)
    policy = Policy(config.name, entry, MetricsLog(folder.metrics).read(), _last_samples(folder.samples))
    notes = list((measurements or {}).get("notes", ()))
    if measurements is None:
        notes.append("This run was not evaluated on test prompts; `allgood evaluate RUN` does that.")
    return _content(
        config,
        text,
        title=f"Run {config.name}",
        subtitle=_subtitle(evaluation, summary.get("steps")),
        sft=evaluation.get("sft"),
        policies=[policy],
        chosen=None,
        measurements=measurements,
        notes=notes,
    )


def group_content(folder: Path, summary: Mapping[str, Any]) -> Content:
    """Several arms on one base. `summary` has `sft`, `arms` and `chosen_arm`; arms trained in `arms/<name>` add curves.

    Raises:
        ConfigError: The folder holds no run file.
    """
    config, text = _config(RunFolder(folder))
    policies = []
    for entry in summary["arms"]:
        name = str(entry.get("name") or f"{entry['objective']}_{entry['gamma']:.4g}")
        arm = RunFolder(folder / "arms" / name)
        policies.append(Policy(name, entry, MetricsLog(arm.metrics).read(), _last_samples(arm.samples)))
    notes = [
        "Measured by gold alone. The learned evaluators of the paper (held-out preference models) are not used here; "
        "`allgood evaluate` uses them where they were trained.",
        "Arms are to be compared at equal KL, not at equal gamma: the utilities of different objectives have different "
        "scales. One seed cannot decide between objectives; the study compares them over seeds.",
        *summary.get("notes", ()),
    ]
    seconds = summary.get("seconds")
    took = f", {seconds / 60:.1f} minutes in all" if seconds else ""
    return _content(
        config,
        text,
        title=f"Comparison {config.name}",
        subtitle=f"{len(policies)} aligned policies against one SFT policy{took}",
        sft=summary["sft"],
        policies=policies,
        chosen=summary.get("chosen_arm"),
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
        sft_report=_json(base.sft / "report.json"),
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


def _learned_improvement(measurements: Mapping[str, Any]) -> dict[str, Any]:
    """Where there is no gold: the gain per prompt by held-out evaluators, or else by the training rewards."""
    for judge, key in (("evaluator 2", "evaluators"), ("training reward", "reward_models")):
        if measurements[key]:
            known = {name: found["improvement"] for name, found in measurements[key].items()}
            gains = {name: found for name, found in known.items() if found["mean"] is not None}  # null: no score at all
            return {"improvement": gains, "improvement_by": judge}
    return {}


def _subtitle(evaluation: Entry, steps: int | None) -> str:
    trained = f"{steps} steps" if steps is not None else "not trained to the end"
    if not evaluation:
        return f"{trained}, not evaluated on test prompts"
    return f"{trained}, measured on {evaluation['num_prompts']} test prompts × {evaluation['num_samples']} samples"


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
