"""One world of the study: everything redrawn from its seed, all arms on one lane of kept actors, numbers as JSON.

A world with shortcuts is also judged by held-out models of its twin without shortcuts, which is run before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from experiments.study.arms import run_missing
from experiments.study.design import study_arms
from experiments.study.flatness import change_over_last_quarter, validation_curve
from experiments.study.held_out import held_out_entries, is_trained
from experiments.study.tuned import stored_weights
from pipelines.cast.actors import Actors
from pipelines.comparison.arms import Arm, ArmRun, kept_actors, sample_policy
from pipelines.comparison.summary import arm_entry, sft_entry
from pipelines.config.data import WorldConfig
from pipelines.config.properties import ModelProperty, Property
from pipelines.config.run import RunConfig
from pipelines.data import prepare
from pipelines.evaluation.efficiency import efficiency, sft_utilities
from pipelines.evaluation.measure import measure
from pipelines.evaluation.samples import test_prompts
from pipelines.objective.gold import gold_of
from pipelines.output.files import write_json
from pipelines.output.stamp import stamped
from pipelines.output.typed_json import as_json
from pipelines.references.build import build_references
from pipelines.run.folder import RunFolder
from pipelines.training.parallel import SideJob, train_rewards, train_side_by_side
from pipelines.training.reward_model import reward_folder
from pipelines.training.sft import train_sft
from pipelines.world.write import write_world


def world_config(config: RunConfig, *, seed: int, shortcuts: bool) -> RunConfig:
    """`config` with everything redrawn from `seed`, the shortcuts' strength on or 0, and held-out models."""
    assert config.world is not None
    world = {"seed": seed} if shortcuts else {"seed": seed, "shortcut_strength": 0.0}
    return config.model_copy(
        update={
            "name": f"seed_{seed}_{'on' if shortcuts else 'off'}",
            "seed": seed,
            "world": config.world.model_copy(update=world),
            "properties": {name: _with_evaluator(setting) for name, setting in config.properties.items()},
        }
    )


def _with_evaluator(setting: Property) -> Property:
    """The held-out model is trained like the reward model: the world has no second backbone."""
    return setting.model_copy(update={"evaluator": setting.train}) if isinstance(setting, ModelProperty) else setting


def run_world(config: RunConfig, clean: RunConfig, results: Path, *, targets: Sequence[float]) -> None:
    """Run one world and write its numbers to `results`. Needs a running Ray session.

    `clean` is the same world without shortcuts, or `config` itself. Models and arms that are there are used.
    """
    for world in (clean, config):
        if not is_trained(world):
            train_world(world)
    with kept_actors(config, num_lanes=1) as lanes:
        build_references(config, lanes[0])
        numbers = measure_arms(config, clean, study_arms(config, targets), lanes)
    write_json(results, stamped(without_details(numbers) | {"reward_accuracy": _accuracies(config)}))


def measure_arms(
    config: RunConfig, clean: RunConfig, arms: Sequence[tuple[Arm, float]], lanes: Sequence[Actors]
) -> dict[str, Any]:
    """Run all arms (with their target KLs) on kept actors, and measure them and the SFT policy on test prompts."""
    assert isinstance(config.world, WorldConfig)
    gold = gold_of(config)
    assert gold is not None
    prompts = test_prompts(config)
    sft = sample_policy(config, lanes[0], prompts, policy_version=0, is_reference=True)
    runs = run_missing([arm for arm, _ in arms], lanes, prompts)
    of_sft, of_arms = held_out_entries(config, clean, prompts, sft, [run.samples for run in runs])
    measured = partial(measure, sft=sft, bars=gold.bars, seed=config.seed, num_bootstrap=config.evaluate.bootstrap)
    return {
        "seed": config.seed,
        "shortcut_strength": config.world.shortcut_strength,
        "sft": as_json(sft_entry(measured(sft))) | of_sft,
        "arms": [
            as_json(arm_entry(run, measured(run.samples)))
            | {"target_kl": target, "weights": stored_weights(run.arm.config)}
            | held_out
            | _training(run)
            for run, (_, target), held_out in zip(runs, arms, of_arms, strict=True)
        ],
    }


def train_world(config: RunConfig) -> None:
    """All models of the world, held-out ones included."""
    train_models(config)
    train_rewards(config, held_out=True)


def train_models(config: RunConfig) -> None:
    """The world, its SFT policy and its reward models."""
    write_world(config)
    prepare(config)
    # In a process of its own, because another world may be training in this one.
    train_side_by_side([SideJob(f"sft {config.name}", RunFolder(config.folder).sft, partial(train_sft, config))])
    train_rewards(config)


def _accuracies(config: RunConfig) -> dict[str, dict[str, float]]:
    """Accuracy on test pairs of reward models and held-out models, per property."""

    def accuracy(name: str, *, held_out: bool) -> float:
        report = reward_folder(config, name, held_out=held_out) / "report.json"
        return float(json.loads(report.read_text(encoding="utf-8"))["accuracy"])

    return {
        kind: {name: accuracy(name, held_out=held_out) for name in config.properties}
        for kind, held_out in (("reward", False), ("evaluator", True))
    }


def _training(run: ArmRun) -> dict[str, Any]:
    """The arm's curve on validation prompts, its last quarter, and its efficiency where the tilt can show its KL."""
    config = run.arm.config
    curve = validation_curve(RunFolder(config.folder).metrics)
    share = efficiency(config, run.summary["validation"])
    return {
        "steps": config.align.steps,
        "curve": curve,
        "change": change_over_last_quarter(curve, sft_utility=float(sft_utilities(config).mean())),
        "efficiency": None if isinstance(share, str) else asdict(share),
    }


def without_details(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a world as they are stored: no folders, and of each measurement the headlines."""
    arms = [without_measurement(arm) for arm in numbers["arms"]]
    return {**numbers, "sft": without_measurement(numbers["sft"]), "arms": arms}


def without_measurement(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a policy as they are stored."""
    return {name: value for name, value in policy.items() if name not in ("measurement", "folder")}
