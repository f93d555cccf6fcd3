"""Sections about what went in: the run itself, reward models, references, what was dropped or cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from allgood.calibration import why_at_bound
from pipelines.cast.faults import RESTARTS, RETRIES
from pipelines.reporting.content import Content, TrainedScorer
from pipelines.reporting.html import (
    Markup,
    Picture,
    Section,
    code,
    heading,
    items,
    number,
    paragraph,
    table,
    with_interval,
)
from pipelines.run.start_policy import start_in_words

COUNTED = (
    "dropped",
    "cut",
    "repeated",
    "contradicting",
    "duplicate",
    "empty",
    "left_out",
    "too_long",
    "failed",
    "stripped",
)
LOST = ("num_dropped", "num_failed", "num_prompts_cut", "num_scoring_prompts_cut")
OPERATIONAL = {RETRIES: "calls made again", RESTARTS: "actors started anew"}


def what_was_run(content: Content) -> Section:
    """Config and hashes."""
    config = content.config
    kinds = ", ".join(
        f"{name} ({setting.kind}, {setting.transform.kind})" for name, setting in config.properties.items()
    )
    said = [
        f"Properties: {kinds}. Sampling at temperature 1, at most {config.sampling.max_new_tokens} new tokens. "
        f"{config.align.algorithm.kind.upper()}, {config.align.steps} steps of {config.align.prompts_per_step} prompts "
        f"× {config.align.samples_per_prompt} samples. Seed {config.seed}.",
        f"π0, the start policy, is {start_in_words(config)}.",
    ]
    hashes = [[name, _short(value)] for name, value in content.hashes.items()]
    return Section(
        "What was run",
        [
            *map(paragraph, said),
            table(["what", "sha256, or name and commit (first 16 digits)"], hashes),
            code(content.config_text, summary="The resolved configuration"),
        ],
    )


def _short(value: str) -> str:
    """The first digits of a hash, and of the commit or hash behind a name."""
    name, at, digits = value.partition("@")
    return f"{name.partition(':')[2]}@{digits[:16]}" if at else value[:16]


def reward_models(content: Content) -> Section:
    """Accuracy alongside "the longer answer wins", calibration, reliability plots."""
    title = "Reward models"
    body: list[Markup | Picture] = []
    if content.scorers:
        columns = [
            "model",
            "held-out accuracy",
            "longer wins",
            "gain over longer wins",
            "similar length",
            "ECE",
            "temperature",
            "test pairs",
        ]
        body.append(table(columns, [_scorer_row(scorer) for scorer in content.scorers]))
        body.append(
            paragraph(
                "Accuracy on pairs of test prompts with 95 % intervals over prompts; a model whose gain has an "
                "interval over 0 knows more than that the longer answer wins. Similar length: pairs with a length "
                "ratio under 1.2. The log-sigmoid is not scale-free, so calibration (ECE: expected calibration error; "
                "fitted temperature) matters; the temperature is applied only where `calibrate` is set."
            )
        )
        body += [
            Picture(
                f"reliability_{scorer.label.replace(' ', '_')}",
                scorer.reliability,
                alt=f"reliability curve of the {scorer.label} model",
                caption=f"Reliability of the {scorer.label} model: how often it is right against how sure it is.",
            )
            for scorer in content.scorers
            if scorer.reliability is not None
        ]
    else:
        body.append(
            paragraph("No reward model was trained in this run: its properties are scored by given models or rules.")
        )
    if not any(scorer.label.endswith("evaluator") for scorer in content.scorers):
        body.append(paragraph("No held-out evaluator was trained in this run."))
    return Section(title, body)


def _scorer_row(scorer: TrainedScorer) -> list[str]:
    report = scorer.report
    similar = report.get("similar_length")
    return [
        scorer.label,
        with_interval(report.get("accuracy"), *_interval(report, "accuracy_ci")),
        with_interval(report.get("longer_wins_accuracy"), *_interval(report, "longer_wins_accuracy_ci")),
        with_interval(report.get("gain_over_longer_wins"), *_interval(report, "gain_over_longer_wins_ci")),
        number(similar["accuracy"]) if similar else "–",
        number(report.get("expected_calibration_error")),
        _temperature(report.get("temperature")),
        str(report.get("test_pairs", "–")),
    ]


def _temperature(fitted: float | None) -> str:
    if fitted is None or why_at_bound(fitted) is None:
        return number(fitted, 2)
    return f"{fitted:g} (bound of the fit)"


def _interval(report: Mapping[str, Any], name: str) -> tuple[float | None, float | None]:
    low, high = report.get(name) or (None, None)
    return low, high


def references(content: Content) -> Section:
    """What a reference point was, and how far the start policy's own rewards spread."""
    title = "References"
    if content.references is None:
        return Section(title, [paragraph("There is no reference table: no property of this run needs one.")])
    made = content.references["made_with"]
    said = (
        f"{content.references['prompts']['count']} prompts × {made['num_samples']} samples of the start policy "
        f"({', '.join(made['splits'])})."
    )
    rows = []
    for name, setting in content.config.properties.items():
        members = [row for row in content.reference_rows if row["property"] == name]
        if not members:
            continue
        reference = setting.reference.model_dump(mode="json")
        described = ", ".join(f"{key} {_shown(value)}" for key, value in reference.items())
        spreads = [row["std"] for row in members if row["std"] is not None and np.isfinite(row["std"])]
        low, median, high = np.percentile(spreads, [5, 50, 95]) if spreads else (None, None, None)
        rows.append(
            [
                name,
                described,
                number(float(np.nanmean([row["mean"] for row in members]))),
                number(float(np.nanmean([row["gaussian85"] for row in members]))),
                "–" if median is None else f"{median:.2f} ({low:.2f} to {high:.2f})",
            ]
        )
    columns = [
        "property",
        "r_ref",
        "mean π0 reward",
        "mean of Gaussian 85 % points",
        "std within a prompt: median (5 to 95 %)",
    ]
    return Section(title, [paragraph(said), table(columns, rows, long_text=True)])


def _shown(value: object) -> str:
    return "; ".join(map(repr, value)) if isinstance(value, list) else str(value)


def dropped(content: Content) -> Section:
    """Every count of something that was dropped, cut, repeated or failed."""
    body: list[Markup | Picture] = []
    counts = {
        "data": content.data_report,
        "SFT": content.sft_report,
        **{scorer.label: scorer.report.get("pairs") for scorer in content.scorers},
    }
    rows = [[where, name, f"{value:,}"] for where, report in counts.items() for name, value in _counts(report) if value]
    rows += [
        [policy.name, name, f"{value:,.0f}"]
        for policy in content.policies
        for name, value in _logged(policy.metrics)
        if value
    ]
    body.append(heading("Counts above zero"))
    body.append(table(["where", "what", "count"], rows) if rows else paragraph("Nothing was dropped, cut or repeated."))
    if content.data_report:
        splits = content.data_report.get("prompts", {}).get("by_split", {})
        body.append(items([f"{split}: {count:,} prompts" for split, count in splits.items() if count]))
    return Section("Dropped, cut, repeated", body)


def _counts(report: object, path: tuple[str, ...] = ()) -> Iterable[tuple[str, int]]:
    if isinstance(report, Mapping):
        for name, value in report.items():
            yield from _counts(value, (*path, str(name)))
    elif isinstance(report, int) and not isinstance(report, bool) and any(word in path[-1] for word in COUNTED):
        yield " / ".join(path).replace("_", " "), report


def _logged(metrics: Iterable[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Sums over all steps of what was dropped, failed, cut or made again while training."""
    totals: dict[str, float] = {}
    for row in metrics:
        for name, value in row.items():
            if name in OPERATIONAL or name.startswith(LOST):
                what = OPERATIONAL.get(name, name)
                totals[what] = totals.get(what, 0.0) + (value or 0.0)
        totals["responses cut at the length limit"] = totals.get("responses cut at the length limit", 0.0) + (
            (row.get("share_cut") or 0.0) * (row.get("num_samples") or 0.0)
        )
    return [(name.replace("_", " "), value) for name, value in totals.items()]
