"""`allgood chain`: every stage of a run file, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from allgood.errors import ConfigError
from pipelines.config.properties import ModelProperty
from pipelines.config.run import RunConfig
from pipelines.progress import say
from pipelines.report_lines import report_lines
from pipelines.run_folder import RunFolder, refuse_alignment


@dataclass(frozen=True)
class Stage:
    """One step of the chain."""

    name: str
    run: Callable[[], object]


def run_chain(config: RunConfig, *, first: str | None = None, overwrite: bool = False) -> None:
    """Run all stages, or those from `first` on (what comes before must lie in the run folder already).

    Raises:
        ConfigError: There is no stage `first` in this run, or its folder holds an alignment and `overwrite` is not set.
    """
    stages = stages_of(config, overwrite=overwrite)
    names = [stage.name for stage in stages]
    if first is not None and first not in names:
        raise ConfigError(f"there is no stage {first!r}; stages of this run: {', '.join(names)}")
    start = 0 if first is None else names.index(first)
    if "align" in names[start:] and not overwrite:
        refuse_alignment(RunFolder(config.folder))  # and not after everything before it was trained again
    for number, stage in enumerate(stages[start:], start=start + 1):
        say(f"[{number}/{len(stages)}] {stage.name}")
        started = time.monotonic()
        stage.run()
        say(f"[{number}/{len(stages)}] {stage.name}: done in {time.monotonic() - started:.0f} s")


def trained_properties(config: RunConfig, *, held_out: bool = False) -> list[str]:
    """Properties whose reward model (or held-out evaluator) this run trains."""
    models = {name: value for name, value in config.properties.items() if isinstance(value, ModelProperty)}
    if held_out:
        return [name for name, value in models.items() if value.evaluator is not None]
    return [name for name, value in models.items() if value.model is None]


def probed_properties(config: RunConfig) -> list[str]:
    """Trained properties with an encoder of their own: a linear probe on it is reported beside the reward model."""
    models = {name: value for name, value in config.properties.items() if isinstance(value, ModelProperty)}
    return [name for name in trained_properties(config) if models[name].train.backbone != "sft"]


def stages_of(config: RunConfig, *, overwrite: bool = False) -> list[Stage]:
    """The stages that this run has, in order."""
    return [
        *([Stage("world", lambda: _world(config))] if config.world else []),
        Stage("data", lambda: _data(config)),
        Stage("sft", lambda: _sft(config)),
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


# Each stage imports what it runs, so that a wrong stage name is told before seconds of imports.


def _world(config: RunConfig) -> None:
    from pipelines.world.write import write_world

    write_world(config)


def _data(config: RunConfig) -> None:
    from pipelines.data import prepare_anew

    _show(prepare_anew(config).report)


def _sft(config: RunConfig) -> None:
    from pipelines.sft import train_sft

    _show(train_sft(config))


def _reward(config: RunConfig, name: str, *, held_out: bool) -> None:
    from pipelines.reward_model import train_reward

    _show(train_reward(config, name, held_out=held_out))


def _probe(config: RunConfig, name: str) -> None:
    from pipelines.probe import train_probe

    _show(train_probe(config, name))


def _reference(config: RunConfig) -> None:
    from pipelines.references import build_references

    build_references(config)


def _align(config: RunConfig, *, overwrite: bool) -> None:
    from pipelines.align import run_align

    run_align(config, overwrite=overwrite)


def _evaluate(config: RunConfig) -> None:
    from pipelines.evaluate import evaluate

    evaluate(config)


def _report(config: RunConfig) -> None:
    from pipelines.report import write_report

    write_report(config.folder)


def _show(report: Mapping[str, object]) -> None:
    for line in report_lines(report):
        say(line)
