"""`allgood chain`: every stage of a run file, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from allgood.errors import ConfigError
from pipelines.config.run import RunConfig
from pipelines.output.progress import report_lines, say
from pipelines.run.folder import RunFolder, refuse_alignment
from pipelines.run.locks import making_base, reading_base, writing_results
from pipelines.training.reward_model import probed_properties, trained_properties

_OF_THE_RUN = ("align", "evaluate", "report")  # stages that only read what a base gives


@dataclass(frozen=True)
class Stage:
    """One step of the chain."""

    name: str
    run: Callable[[], object]


def run_chain(config: RunConfig, *, first: str | None = None, overwrite: bool = False) -> None:
    """Run all stages, or those from `first` on (what comes before must lie in the run folder already).

    Raises:
        ConfigError: There is no stage `first` in this run, or its folder holds an alignment and `overwrite` is not set,
            or another process is in it; and as `refuse_unfit_models`.
    """
    stages = stages_of(config, overwrite=overwrite)
    names = [stage.name for stage in stages]
    if first is not None and first not in names:
        raise ConfigError(f"there is no stage {first!r}; stages of this run: {', '.join(names)}")
    start = 0 if first is None else names.index(first)
    if "align" in names[start:] and not overwrite:
        refuse_alignment(RunFolder(config.folder))  # and not after everything before it was trained again
    base_is_made = names[start] not in _OF_THE_RUN
    with (
        writing_results(config.folder, "chain"),
        (making_base if base_is_made else reading_base)(config.base_folder, "chain"),
    ):
        _refuse_unfit_models(config)
        for number, stage in enumerate(stages[start:], start=start + 1):
            say(f"[{number}/{len(stages)}] {stage.name}")
            started = time.monotonic()
            stage.run()
            say(f"[{number}/{len(stages)}] {stage.name}: done in {time.monotonic() - started:.0f} s")


def stages_of(config: RunConfig, *, overwrite: bool = False) -> list[Stage]:
    """The stages that this run has, in order."""
    return [
        *([Stage("world", lambda: _world(config))] if config.world else []),
        Stage("data", lambda: _data(config)),
        *([Stage("sft", lambda: _sft(config))] if config.sft else []),
        *(_reward_stage(config, name, held_out=False) for name in trained_properties(config)),
        *(_probe_stage(config, name) for name in probed_properties(config)),
        *(_reward_stage(config, name, held_out=True) for name in trained_properties(config, held_out=True)),
        Stage("reference", lambda: _reference(config)),
        Stage("align", lambda: _align(config, overwrite=overwrite)),
        Stage("evaluate", lambda: _evaluate(config)),
        Stage("report", lambda: _report(config)),
    ]


def _probe_stage(config: RunConfig, name: str) -> Stage:
    return Stage(f"probe-{name}", lambda: _probe(config, name))


def _reward_stage(config: RunConfig, name: str, *, held_out: bool) -> Stage:
    return Stage(f"{'held-out' if held_out else 'reward'}-{name}", lambda: _reward(config, name, held_out=held_out))


# Each stage imports what it runs, so that a wrong stage name is reported before seconds of imports.


def _refuse_unfit_models(config: RunConfig) -> None:
    from pipelines.cast.finished_models import refuse_unfit_models

    refuse_unfit_models(config)


def _world(config: RunConfig) -> None:
    from pipelines.world.write import write_world

    write_world(config)


def _data(config: RunConfig) -> None:
    from pipelines.data import prepare_anew

    _show(prepare_anew(config).report)


def _sft(config: RunConfig) -> None:
    from pipelines.training.sft import train_sft

    _show(train_sft(config))


def _reward(config: RunConfig, name: str, *, held_out: bool) -> None:
    from pipelines.training.reward_model import train_reward

    _show(train_reward(config, name, held_out=held_out))


def _probe(config: RunConfig, name: str) -> None:
    from pipelines.training.probe import train_probe

    _show(train_probe(config, name))


def _reference(config: RunConfig) -> None:
    from pipelines.references.build import build_references

    build_references(config)


def _align(config: RunConfig, *, overwrite: bool) -> None:
    from pipelines.alignment.align import run_align

    run_align(config, overwrite=overwrite)


def _evaluate(config: RunConfig) -> None:
    from pipelines.evaluation.evaluate import evaluate

    evaluate(config)


def _report(config: RunConfig) -> None:
    from pipelines.reporting.report import write_report

    write_report(config.folder)


def _show(report: Mapping[str, object]) -> None:
    for line in report_lines(report):
        say(line)
