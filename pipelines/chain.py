"""`allgood chain`: every stage of a run file, one after the other; and what is left of them after an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from allgood.errors import ConfigError
from pipelines.config.loading import load_run
from pipelines.config.run import RunConfig
from pipelines.output.progress import report_lines, say
from pipelines.run.folder import RunFolder, refuse_alignment
from pipelines.run.locks import making_base, reading_base, writing_results
from pipelines.run.unfinished import Unfinished, noting
from pipelines.storage.copy import check_storage
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
    check_storage(config, overwrite=overwrite or "align" not in names[start:])
    _run_stages(config, stages[start:], "chain", num_before=start)


def go_on(unfinished: Unfinished) -> None:
    """Run the stages that an interrupted command has left; the first goes on from its last checkpoint.

    Raises:
        AllgoodError: As the stages; another process is in the folder.
    """
    stages = {stage.name: stage for stage in stages_of(unfinished.config, overwrite=True)}
    unknown = [name for name in unfinished.stages if name not in stages]
    if unknown:
        raise ConfigError(
            f"{RunFolder(unfinished.config.folder).unfinished} names a stage {unknown[0]!r}, which this run has not; "
            "remove it, and give the first command again"
        )
    if unfinished.stages[0] == "align" and _has_begun_alignment(unfinished.config):
        stages["align"] = Stage("align", lambda: _resume_alignment(unfinished.config))
    say(f"{unfinished.config.folder}: going on with {', '.join(unfinished.stages)}")
    _run_stages(unfinished.config, [stages[name] for name in unfinished.stages], "resume")


def _run_stages(config: RunConfig, stages: Sequence[Stage], command: str, *, num_before: int = 0) -> None:
    """Run `stages`, which follow `num_before` others."""
    names, last = [stage.name for stage in stages], num_before + len(stages)
    base_is_made = names[0] not in _OF_THE_RUN
    with (
        writing_results(config.folder, command),
        (making_base if base_is_made else reading_base)(config.base_folder, command),
    ):
        _refuse_unfit_models(config)
        with noting(config) as note:
            for index, stage in enumerate(stages):
                note(names[index:])
                which = f"[{num_before + index + 1}/{last}] {stage.name}"
                say(which)
                started = time.monotonic()
                stage.run()
                say(f"{which}: done in {time.monotonic() - started:.0f} s")


def _has_begun_alignment(config: RunConfig) -> bool:
    """Whether the alignment in the run folder is that of `config`, and not one that the chain was to replace."""
    return RunFolder(config.folder).config.is_file() and load_run(config.folder) == config


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
    return Stage(reward_stage_name(name, held_out=held_out), lambda: _reward(config, name, held_out=held_out))


def reward_stage_name(name: str, *, held_out: bool) -> str:
    """The stage that trains the reward model (or held-out evaluator) of a property."""
    return f"{'held-out' if held_out else 'reward'}-{name}"


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


def _resume_alignment(config: RunConfig) -> None:
    from pipelines.alignment.align import resume

    resume(config.folder)


def _evaluate(config: RunConfig) -> None:
    from pipelines.evaluation.evaluate import evaluate

    evaluate(config)


def _report(config: RunConfig) -> None:
    from pipelines.reporting.report import write_report

    write_report(config.folder)


def _show(report: Mapping[str, object]) -> None:
    for line in report_lines(report):
        say(line)
