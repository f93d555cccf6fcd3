"""What the check runs: 8 objectives with their references, 3 target KLs, and the configurations of both sides.

The settings differ in earnest: the AND under low, paper's and high references, raw sums from 1:4 to 4:1, each property
alone. Coefficients come from `solve_gamma` on alignment prompts, predictions from test prompts, with as many samples of
the SFT policy per prompt for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from experiments.study.matched import paced_config
from pipelines.comparison.arms import Arm
from pipelines.config.properties import (
    IdentityTransform,
    LogSigmoidTransform,
    Property,
    QuantileReference,
    Reference,
    Transform,
)
from pipelines.config.rl import FormulaObjective, Objective, WeightedSumObjective
from pipelines.config.run import RunConfig

TARGET_KLS = (0.5, 1.0, 2.0)
TRAINING, PREDICTION = "training", "prediction"


@dataclass(frozen=True)
class Scale:
    """How much of everything. The defaults are the experiment; a test makes them tiny.

    Predictions and trained policies meet the same test prompts, so that their differences are paired. The samples of
    the SFT policy pass through memory as rows of about 2.7 kB at the peak: 1 GB for these prompts.
    """

    steps: int = 240
    evaluate_every: int = 30
    test_prompts: int = 300
    solving_prompts: int = 48  # alignment prompts on which the coefficients are solved
    samples: int = 1024  # of the SFT policy, per prompt, for predictions
    validation_samples: int = 64  # per validation prompt, at each evaluation while training
    evaluation_samples: int = 8  # of each trained policy, per test prompt
    bootstrap: int = 2000


@dataclass(frozen=True)
class CheckSetting:
    """One objective with its references, without a KL."""

    name: str
    label: str
    config: RunConfig


def training_config(chain: RunConfig, folder: Path, scale: Scale) -> RunConfig:
    """The run whose arms are trained: the chain's data, SFT policy and reward models, more steps, a falling rate."""
    align = chain.align.model_copy(
        update={
            "steps": scale.steps,
            "evaluate_every": scale.evaluate_every,
            "evaluation_samples": scale.validation_samples,
            "checkpoint_every": scale.steps,
            "keep_checkpoints": 1,
            "optimizer": replace(chain.align.optimizer, schedule="cosine"),
        }
    )
    evaluate = chain.evaluate.model_copy(
        update={"prompts": scale.test_prompts, "samples_per_prompt": scale.evaluation_samples}
    )
    references = chain.references.model_copy(update={"num_samples": min(64, scale.samples)})
    return chain.model_copy(
        update={
            "name": TRAINING,
            "output_dir": folder,
            "base": None,
            "align": align,
            "evaluate": evaluate,
            "references": references,
            "comparison": None,
            "tracking": chain.tracking.model_copy(update={"wandb": "disabled"}),
        }
    )


def prediction_config(training: RunConfig, scale: Scale) -> RunConfig:
    """The same models with many samples on few prompts, in a folder of its own."""
    references = training.references.model_copy(
        update={
            "num_samples": scale.samples,
            "splits": ["alignment", "test"],
            "max_prompts": {"alignment": scale.solving_prompts, "test": scale.test_prompts},
            "prompts_per_chunk": 2,  # 2,048 responses at a time
        }
    )
    return training.model_copy(update={"name": PREDICTION, "references": references})


def settings_of(config: RunConfig) -> list[CheckSetting]:
    """The 8 settings, for a run with two properties."""
    first, second = config.properties
    own = [setting.reference for setting in config.properties.values()]

    def conjunction(name: str, label: str, references: list[Reference]) -> CheckSetting:
        return _setting(config, name, label, FormulaObjective(), LogSigmoidTransform(), references)

    def raw(name: str, label: str, weights: tuple[float, float]) -> CheckSetting:
        objective = WeightedSumObjective(weights=dict(zip((first, second), weights, strict=True)))
        return _setting(config, name, label, objective, IdentityTransform(), own)

    return [
        conjunction("and_own", "AND, the run file's references", own),
        conjunction("and_q50", "AND, both q50", [QuantileReference(quantile=0.5)] * 2),
        conjunction("and_q95", "AND, both q95", [QuantileReference(quantile=0.95)] * 2),
        raw("raw_1_1", "raw sum", (1.0, 1.0)),
        raw("raw_4_1", f"raw, 4 {first} : 1 {second}", (2.0, 0.5)),
        raw("raw_1_4", f"raw, 1 {first} : 4 {second}", (0.5, 2.0)),
        raw("first_only", f"raw, {first} alone", (1.0, 0.0)),
        raw("second_only", f"raw, {second} alone", (0.0, 1.0)),
    ]


def name_at(setting: CheckSetting, target_kl: float) -> str:
    """Of a setting at one target KL: its arm, and its results."""
    return f"{setting.name}_kl{target_kl:g}"


def arm_of(setting: CheckSetting, target_kl: float, coefficient: float) -> Arm:
    """The alignment that a prediction is compared with."""
    training = paced_config(setting.config, target_kl)
    name = name_at(setting, target_kl)
    update = {
        "name": name,
        "output_dir": training.output_dir / "arms",
        "base": training.base_folder,
        "kl": training.kl.model_copy(update={"coefficient": coefficient}),
    }
    return Arm(name, setting.name, training.model_copy(update=update))


def _setting(
    config: RunConfig,
    name: str,
    label: str,
    objective: Objective,
    transform: Transform,
    references: list[Reference],
) -> CheckSetting:
    properties: dict[str, Property] = {
        key: setting.model_copy(update={"transform": transform, "reference": reference})
        for (key, setting), reference in zip(config.properties.items(), references, strict=True)
    }
    return CheckSetting(name, label, config.model_copy(update={"properties": properties, "objective": objective}))
