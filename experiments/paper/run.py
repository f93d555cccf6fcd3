"""One seed of the experiments: the study's world with shortcuts, samples of its test prompts, every part in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.paper.parts import PARTS, Part, Setting
from experiments.paper.tilted import best_of_k_curve, measured_values, tilted_curve
from experiments.study.held_out import is_trained
from experiments.study.matched import arm_at
from experiments.study.worlds import measure_arms, train_world, without_details
from pipelines.cast.actors import Actors
from pipelines.comparison.arms import kept_actors
from pipelines.config.loading import changed_config
from pipelines.config.run import RunConfig
from pipelines.objective.gold import gold_of
from pipelines.output.files import write_json
from pipelines.output.progress import say
from pipelines.output.stamp import stamped
from pipelines.references.build import build_references
from pipelines.references.cached_samples import load_cached_samples
from pipelines.run.folder import share_base

SPLITS = ["alignment", "validation", "test"]


def run_seed(config: RunConfig, clean: RunConfig, parts: Sequence[Part], stored: Path) -> None:
    """Run the parts whose results are missing; each leaves `<stored>/<part>/seed_<n>.json`. Needs a Ray session.

    `config` is a world of the study with shortcuts, `clean` its twin without them; models that are there are used.
    """
    missing = [part for part in parts if not result_path(stored, part, config.seed).is_file()]
    if not missing:
        return
    for world in (clean, config):
        if not is_trained(world):
            train_world(world)
    config = with_references(config)
    with kept_actors(config, num_lanes=1) as lanes:
        build_references(config, lanes[0])
        for chosen in [chosen for part in missing for chosen in _settings(config, part).values()]:
            if chosen.base_folder != config.base_folder:
                share_base(config.base_folder, chosen.base_folder)
                build_references(chosen, lanes[0])
        for part in missing:
            write_json(result_path(stored, part, config.seed), stamped(_run_part(part, config, clean, lanes)))
            say(f"seed {config.seed}: {part.name} is done")


def result_path(stored: Path, part: Part, seed: int) -> Path:
    """Where the numbers of one part and seed lie."""
    return stored / part.name / f"seed_{seed}.json"


def with_references(config: RunConfig) -> RunConfig:
    """`config` whose reference table serves every setting, and samples of test prompts too, for predictions.

    The settings of all parts, whichever are run: this is part of each arm's configuration, by which a finished arm is
    known, so that it must not depend on what was done before.
    """
    settings = [chosen for part in PARTS.values() for chosen in _settings(config, part).values()]
    also = {name: [chosen.properties[name].reference for chosen in settings] for name in config.properties}
    limits = {**config.references.max_prompts, "test": config.evaluate.prompts}  # predicted where arms are measured
    update = {"splits": SPLITS, "also": also, "max_prompts": limits}
    return config.model_copy(update={"references": config.references.model_copy(update=update)})


def _settings(config: RunConfig, part: Part) -> dict[str, RunConfig]:
    return {setting.label: setting_config(config, setting) for setting in part.settings}


def setting_config(config: RunConfig, setting: Setting) -> RunConfig:
    """The run of a setting; one with a table of its own stands on another base, which shares the models."""
    chosen = changed_config(config, setting.overrides)
    return chosen.model_copy(update={"base": config.folder / setting.label}) if setting.own_table else chosen


def _run_part(part: Part, config: RunConfig, clean: RunConfig, lanes: Sequence[Actors]) -> dict[str, Any]:
    settings = _settings(config, part)
    alignment = load_cached_samples(config, "alignment")
    arms = [
        (arm_at(chosen, label, alignment, target), target)
        for target in part.targets
        for label, chosen in settings.items()
    ]
    numbers = without_details(measure_arms(config, clean, arms, lanes))
    return numbers | {"tilted": _predicted(config, settings)}


def _predicted(config: RunConfig, settings: Mapping[str, RunConfig]) -> dict[str, Any]:
    test = load_cached_samples(config, "test")
    gold = gold_of(config)
    assert gold is not None
    values = measured_values(test, gold.bars)
    return {
        label: {
            "tilting": tilted_curve(chosen, test, values),
            "best_of_k": best_of_k_curve(chosen, test, values),
        }
        for label, chosen in settings.items()
    }
