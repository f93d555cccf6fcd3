"""The page of a sweep: the recommended setting, the front, predicted against achieved, what failed, what was run.

Where nobody judges, training rewards and KL stand in place of the first three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from allgood.errors import AllgoodError
from allgood.scorers import yaml12
from pipelines.config.run import RunConfig
from pipelines.config.sweep import SweepConfig
from pipelines.config.sweep_loading import override_text
from pipelines.output.files import atomic_path
from pipelines.reporting import plots
from pipelines.reporting.html import (
    Markup,
    Picture,
    Section,
    code,
    items,
    number,
    page,
    paragraph,
    table,
    with_interval,
)
from pipelines.run.folder import RunFolder
from pipelines.sweep.judge import unjudged_notice
from pipelines.sweep.predicted import Predicted, predictions, rank_correlation
from pipelines.sweep.results import LeftOut, Row, Setting, Value, why_none, why_unfinished
from pipelines.sweep.score import Source
from pipelines.sweep.space import GAMMA, in_words
from pipelines.sweep.unjudged import UNJUDGED, reward_table


def write_sweep_report(
    sweep: SweepConfig,
    run: RunConfig,
    trials: Sequence[Row],
    settings: Sequence[Setting],
    left_out: Sequence[LeftOut],
    summary: Mapping[str, Any],
    source: Source,
) -> None:
    """Write `report.html` and `plots/` of a sweep's folder."""
    folder = RunFolder(sweep.folder)
    sections = [
        *(_unjudged(summary) if source == "nobody" else _judged(sweep, run, settings, summary, source)),
        Section("Settings left out", _left_out(left_out)),
        Section("Trials that did not finish", _unfinished(trials)),
        Section("What was run", _what_was_run(sweep, run)),
        Section("Notes", [items(_notes(sweep, run, settings, source))]),
    ]
    for section in sections:
        for part in section.body:
            if isinstance(part, Picture):
                with atomic_path(folder.plots / f"{part.name}.png") as temporary:
                    temporary.write_bytes(part.png)
    counted = ", ".join(f"{count} {status}" for status, count in summary["trials"].items())
    with atomic_path(folder.report) as temporary:
        temporary.write_text(page(sweep.name, f"trials: {counted or 'none'}", sections), encoding="utf-8")


def _judged(
    sweep: SweepConfig, run: RunConfig, settings: Sequence[Setting], summary: Mapping[str, Any], source: Source
) -> list[Section]:
    return [
        Section("Recommended", _recommended(sweep, summary, settings)),
        Section("Front", _front(settings)),
        Section("Predicted and achieved", _overlay(run, settings, source)),
    ]


def _unjudged(summary: Mapping[str, Any]) -> list[Section]:
    header, rows = reward_table(summary)
    caption = (
        "On test prompts. A higher training reward says that training reached what it aims at, not that responses are "
        "better. Intervals: over seeds where there are several, else from resampled test prompts."
    )
    return [Section("Training rewards and KL", [paragraph(f"{UNJUDGED}."), table(header, rows, caption=caption)])]


def _recommended(sweep: SweepConfig, summary: Mapping[str, Any], settings: Sequence[Setting]) -> list[Markup | Picture]:
    area = summary["hypervolume"]
    chosen = next((s for s in settings if summary["recommended"] and s.name == summary["recommended"]["setting"]), None)
    budget = "any KL" if sweep.kl_budget is None else f"at most {sweep.kl_budget:g} nats"
    if chosen is None:
        return [paragraph(f"None: {why_none(summary)}.")]
    return [
        paragraph(
            f"For {budget}: {chosen.name}. Chosen by its validation win rate, {_shown(chosen.validation['win_rate'])} "
            f"at {_shown(chosen.validation['kl'], 2)} nats; on test prompts it wins {_shown(chosen.test['win_rate'])} "
            f"at {_shown(chosen.test['kl'], 2)} nats."
        ),
        items([override_text(key, value) for key, value in chosen.changes.items()]),
        paragraph(f"Its aligned policy: {RunFolder(chosen.trials[0]).model}."),
        code(summary["recommended"]["command"], summary="train it again, with further overrides behind"),
        paragraph(
            f"Hypervolume of the front (win rate above one half, integrated over KL up to {number(area['worst_kl'], 2)}"
            f" nats): {number(area['validation'])} on validation prompts, {number(area['test'])} on test prompts."
        ),
    ]


def _front(settings: Sequence[Setting]) -> list[Markup | Picture]:
    if not settings:
        return [paragraph("No setting has finished with all its seeds.")]
    ordered = sorted(settings, key=lambda s: (not s.on_front, s.validation["kl"].value))
    has_gold = all("both_good" in setting.test for setting in settings)
    columns = ["", "setting", "seeds", "KL, validation", "win rate, validation", "KL, test", "win rate, test"]
    rows = [
        [
            "*" if setting.on_front else "",
            setting.name,
            str(setting.seeds),
            _shown(setting.validation["kl"], 2),
            _shown(setting.validation["win_rate"]),
            _shown(setting.test["kl"], 2),
            _shown(setting.test["win_rate"]),
            *([_shown(setting.test["both_good"])] if has_gold else []),
        ]
        for setting in ordered
    ]
    caption = (
        "* on the front of the validation means. Intervals: over seeds where there are several, "
        "else from resampled test prompts."
    )
    return [
        table(columns + (["both good, test"] if has_gold else []), rows, caption=caption),
        Picture(
            "front",
            plots.frontier(_groups(settings), y_label="win rate against π0", baseline=("π0", 0.5)),
            "Win rate on test prompts against KL, one line per setting, points labelled with gamma",
            "Win rate against the start policy on test prompts. Points of one line differ in gamma alone.",
        ),
    ]


def _groups(settings: Sequence[Setting]) -> dict[str, list[plots.Point]]:
    groups: dict[str, list[plots.Point]] = {}
    for setting in settings:
        rate = setting.test["win_rate"]
        low, high = rate.low if rate.low is not None else rate.value, rate.high if rate.high is not None else rate.value
        point = plots.Point(setting.test["kl"].value, rate.value, low, high, setting.labels.get(GAMMA, ""))
        groups.setdefault(_line(setting), []).append(point)
    return groups


def _line(setting: Setting) -> str:
    others = {axis: label for axis, label in setting.labels.items() if axis != GAMMA}
    return in_words(others) or "over gamma"


def _overlay(run: RunConfig, settings: Sequence[Setting], source: Source) -> list[Markup | Picture]:
    if not settings:
        return [paragraph("No setting has finished with all its seeds.")]
    try:
        predicted = predictions(run, settings, source)
    except AllgoodError as error:
        return [paragraph(f"No prediction: {error}.")]
    known = {name: found for name, found in predicted.items() if isinstance(found, Predicted)}
    if not known:
        return [paragraph(f"No prediction: {next(iter(predicted.values()))}.")]
    pairs = [
        plots.Pair(
            _line(setting),
            (known[setting.name].kl, known[setting.name].win_rate),
            (setting.validation["kl"].value, setting.validation["win_rate"].value),
        )
        for setting in settings
        if setting.name in known
    ]
    example = next(iter(known.values()))
    correlation = rank_correlation(predicted, settings)
    caption = (
        f"Hollow: the optimum of each setting, by tilting {example.num_samples} cached samples of π0 on "
        f"{example.num_prompts} validation prompts. Filled: what training reached on the same prompts."
    )
    return [
        Picture("predicted", plots.overlay(pairs), "Predicted and achieved win rate against KL per setting", caption),
        *([] if correlation is None else [paragraph(_correlation(correlation))]),
        table(
            ["setting", "KL, predicted", "KL, achieved", "win rate, predicted", "win rate, achieved", "tilt reliable"],
            [_pair_row(setting, predicted[setting.name]) for setting in settings],
            caption="Where the tilt is not reliable, its samples cannot show that much KL: its KL reads too low.",
        ),
    ]


def _correlation(value: float) -> str:
    return (
        f"Rank correlation of predicted and achieved win rates over settings: {value:.2f}. Where settings differ in "
        "gamma it mostly says that more KL wins more."
    )


def _pair_row(setting: Setting, predicted: Predicted | str) -> list[str]:
    kl, rate = (number(setting.validation[name].value, digits) for name, digits in (("kl", 2), ("win_rate", 3)))
    if isinstance(predicted, str):
        return [setting.name, "–", kl, "–", rate, predicted]
    reliable = "yes" if predicted.reliable else "no"
    return [setting.name, number(predicted.kl, 2), kl, number(predicted.win_rate), rate, reliable]


def _left_out(settings: Sequence[LeftOut]) -> list[Markup | Picture]:
    if not settings:
        return [paragraph("None.")]
    rows = [[s.setting, f"{s.finished} of {s.planned} seeds", s.why] for s in settings]
    caption = (
        "A setting counts with all its seeds or not at all: where some were ended early or failed, the rest are the "
        "lucky ones. The numbers of every trial are in results.parquet."
    )
    return [table(["setting", "finished", "why"], rows, caption=caption, long_text=True)]


def _unfinished(trials: Sequence[Row]) -> list[Markup | Picture]:
    rows = [[row["name"], row["status"], why_unfinished(row)] for row in trials if row["status"] != "finished"]
    return [table(["trial", "status", "why"], rows, long_text=True) if rows else paragraph("None.")]


def _what_was_run(sweep: SweepConfig, run: RunConfig) -> list[Markup | Picture]:
    return [
        code(yaml12.dump(sweep.model_dump(mode="json")), summary="the sweep file, with every default"),
        code(yaml12.dump(run.model_dump(mode="json")), summary="the base run, with every default"),
    ]


def _notes(sweep: SweepConfig, run: RunConfig, settings: Sequence[Setting], source: Source) -> list[str]:
    notes = [] if source == "nobody" else _notes_of_judge(run, source)
    if any(setting.seeds > 1 for setting in settings):
        notes.append(
            "Seeds repeat the alignment on one world, one start policy and one set of reward models: their intervals "
            "show the noise of training, not of the models."
        )
    else:
        notes.append("One seed per setting: intervals come from resampled test prompts and show no noise of training.")
    if sweep.mode.early_stopping.kind == "asha":
        notes.append("Trials were ended early on the validation win rate within the KL budget, by ASHA.")
    return notes


def _notes_of_judge(run: RunConfig, source: Source) -> list[str]:
    judge = "gold" if source == "gold" else "held-out preference models"
    notes = [
        f"Win rates are judged by {judge}, never by the reward models that training maximises. Choices (front, "
        "recommendation, early stopping) use validation prompts; test prompts only report.",
    ]
    unjudged = unjudged_notice(run, source)
    if unjudged is not None:
        notes.append(f"{unjudged[0].upper()}{unjudged[1:]}.")
    return notes


def _shown(value: Value, digits: int = 3) -> str:
    return with_interval(value.value, value.low, value.high, digits)
