"""`allgood reward`: train the Bradley-Terry reward model of a property on its preference pairs, and report on it.

The backbone is the start policy, or any Hugging Face encoder or causal model; what is saved is a standard one-label
sequence classifier, which `AutoModelForSequenceClassification.from_pretrained` loads. A reward model learns from the
pairs of the reward split; the held-out evaluator from those of the alignment split, with another seed. Both choose
their best moment on validation pairs, fit the temperature there, and report on test pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from allgood.errors import ConfigError, DataError
from allgood.scorers.encoding import encode_all_for_scoring
from allgood.scorers.models import load_reward_model
from pipelines.config.properties import ModelProperty
from pipelines.config.run import RunConfig
from pipelines.config.training import RewardTrainingConfig
from pipelines.data import Pair, prepare
from pipelines.output.files import write_json
from pipelines.output.progress import Bar, track
from pipelines.output.quiet import quiet_transformers
from pipelines.run.folder import RunFolder
from pipelines.run.start_policy import start_policy
from pipelines.run.tracking import Stage, Tracker, stage_of
from pipelines.training.job import Job
from pipelines.training.losses import bradley_terry_loss
from pipelines.training.reward_report import ScoredPairs, refuse_bound, reliability_plot, reward_report
from pipelines.training.rows import PairRows, Ragged, spread
from pipelines.training.run import run_training
from pipelines.training.scoring import score_tokens
from pipelines.training.seeds import training_seed
from pipelines.training.sources import absolute_source, backbone_tokenizer, reward_backbone

Report = dict[str, Any]


@dataclass(frozen=True)
class EncodedPairs:
    """The pairs of one split that fit, and their tokens; `counts` says what was cut and dropped."""

    pairs: list[Pair]
    rows: PairRows
    counts: Mapping[str, int]


def train_reward(
    config: RunConfig, property_name: str, held_out: bool = False, *, show_progress: bool = True
) -> Report:
    """Train one reward model or held-out evaluator; writes its folder and returns the report.

    Without `show_progress` whoever started this process shows the training's progress, and tracks it.

    Raises:
        ConfigError: The property has no reward model that is trained here.
        DataError: A split has no pairs.
        ModelError: The backbone or its tokenizer cannot be used, or the SFT policy was not trained yet.
        TrainingError: The training diverged; nothing was saved.
    """
    settings = reward_settings(config, property_name, held_out=held_out)
    folder = reward_folder(config, property_name, held_out=held_out).resolve()
    source = _backbone(config, settings)
    tokenizer = backbone_tokenizer(source)
    pairs = pairs_of(config, property_name)
    train_split = "alignment" if held_out else "reward"
    train, validation, test = (
        encode_pairs(tokenizer, pairs, settings, split=split, property_name=property_name)
        for split in (train_split, "validation", "test")
    )
    name = f"{'held-out' if held_out else 'reward'} {property_name}"
    job = Job(
        name=name,
        folder=folder,
        training=settings.training,
        train=train.rows,
        validation=_at_most(validation, settings.training.max_validation_rows).rows,
        load=partial(reward_backbone, source, settings.freeze_layers, tokenizer),
        loss=partial(bradley_terry_loss, center_coefficient=settings.center_coefficient),
        finish=partial(_measure, name, folder, validation, test, num_bootstrap=config.evaluate.bootstrap),
        task="SEQ_CLS",
        sums=("loss", "log_loss", "accuracy"),
        select="log_loss",
        seed=training_seed(config.seed, "held-out" if held_out else "reward", property_name),
        device=config.device,
        dtype=config.dtype,
        threads=config.own_threads,
        grace_s=config.placement.grace_s,
    )
    with Tracker(reward_stage(config, property_name, held_out=held_out) if show_progress else None) as tracker:
        outcome = run_training(job, show_progress=show_progress, observe=tracker.log_row)
        report = {
            "property": property_name,
            "held_out": held_out,
            "backbone": settings.backbone,
            "train_split": train_split,
            **outcome.finished,
            "num_steps": outcome.num_steps,
            "best_step": outcome.best_step,
            "validation_log_loss": outcome.best_value,
            "last_validation_log_loss": outcome.last_value,
            "seconds": outcome.seconds,
            "tokens_per_s": outcome.tokens_per_s,
            "pairs": {"train": train.counts, "validation": validation.counts, "test": test.counts},
        }
        reliability_plot(report, _reliability(folder))
        write_json(folder / "report.json", report)
        track_report(tracker, report, folder)
    setting = config.properties[property_name]
    if not held_out and isinstance(setting, ModelProperty) and setting.calibrate:
        refuse_bound(property_name, report["temperature"])  # now, and not after all other trainings
    return report


def reward_stage(config: RunConfig, property_name: str, *, held_out: bool) -> Stage:
    """The training of a reward model (or held-out evaluator) as trackers show it."""
    kind = "held-out" if held_out else "reward"
    return stage_of(config, kind, config.base_folder, label=property_name)


def track_report(tracker: Tracker, report: Report, folder: Path) -> None:
    """The finished training's report and its reliability plot."""
    tracker.summary(report)
    tracker.image("reliability", _reliability(folder))


def _reliability(folder: Path) -> Path:
    return folder / "plots" / "reliability.png"


def reward_folder(config: RunConfig, property_name: str, *, held_out: bool) -> Path:
    """Where the reward model (or held-out evaluator) of a property lies."""
    folder = RunFolder(config.base_folder)
    return folder.evaluator(property_name) if held_out else folder.reward(property_name)


def reward_settings(config: RunConfig, property_name: str, *, held_out: bool) -> RewardTrainingConfig:
    """How the reward model (or held-out evaluator) of a property is trained.

    Raises:
        ConfigError: Nothing is trained here for this property.
    """
    if property_name not in config.properties:
        raise ConfigError(f"there is no property {property_name!r}; this run has {', '.join(config.properties)}")
    setting = config.properties[property_name]
    if not isinstance(setting, ModelProperty):
        raise ConfigError(
            f"properties.{property_name} is of kind {setting.kind!r}, so there is no reward model to train"
        )
    if held_out:
        if setting.evaluator is None:
            raise ConfigError(
                f"properties.{property_name}.evaluator is absent; describe there how the held-out evaluator is trained"
            )
        if setting.evaluator.model is not None:
            raise ConfigError(
                f"properties.{property_name}.evaluator.model names a finished model, so there is nothing to train"
            )
        return setting.evaluator
    if setting.model is not None:
        raise ConfigError(
            f"properties.{property_name}.model names a finished reward model, so there is nothing to train"
        )
    return setting.train


def pairs_of(config: RunConfig, property_name: str) -> list[Pair]:
    """The prepared pairs of a property, of all splits.

    Raises:
        DataError: The data, which may be those of a `base`, have none.
    """
    pairs = prepare(config).pairs
    if property_name not in pairs:
        raise DataError(
            f"{RunFolder(config.base_folder).data} has no pairs of property {property_name!r}, only of "
            f"{', '.join(pairs)}; give `data.pairs.{property_name}` where these data are prepared"
        )
    return pairs[property_name]


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    settings: RewardTrainingConfig,
    *,
    split: str,
    property_name: str,
) -> EncodedPairs:
    """The pairs of `split` as tokens: pairs with a response that does not fit are dropped, prompts cut from the left.

    Raises:
        DataError: No pair is left.
    """
    members = [pair for pair in pairs if pair.split == split]
    chosen, rejected = (
        encode_all_for_scoring(tokenizer, examples, max_tokens=settings.max_tokens)
        for examples in ([(p.prompt, p.chosen) for p in members], [(p.prompt, p.rejected) for p in members])
    )
    kept = [(p, c, r) for p, c, r in zip(members, chosen, rejected, strict=True) if c is not None and r is not None]
    if not kept:
        raise DataError(
            f"property {property_name!r}: all {len(members)} pairs of the {split} split are longer than max_tokens = "
            f"{settings.max_tokens}; raise the limit"
            if members
            else f"property {property_name!r} has no pairs in the {split} split; give more, or larger `data.splits`"
        )
    margins = np.array([pair.margin or 0.0 if settings.margin else 0.0 for pair, _, _ in kept], dtype=np.float32)
    rows = PairRows(Ragged.of([c.tokens for _, c, _ in kept]), Ragged.of([r.tokens for _, _, r in kept]), margins)
    counts = {
        "pairs": len(kept),
        "prompts": len({pair.prompt_id for pair, _, _ in kept}),
        "tokens": int(rows.chosen.starts[-1] + rows.rejected.starts[-1]),
        "prompts_cut": sum(c.cut or r.cut for _, c, r in kept),
        "dropped_too_long": len(members) - len(kept),
        "turns_changed_by_template": sum(max(c.num_changed, r.num_changed) for _, c, r in kept),
    }
    return EncodedPairs([pair for pair, _, _ in kept], rows, counts)


def _backbone(config: RunConfig, settings: RewardTrainingConfig) -> str:
    if settings.backbone != "sft":
        return absolute_source(settings.backbone_source)
    return start_policy(config).source


def _at_most(encoded: EncodedPairs, num_pairs: int | None) -> EncodedPairs:
    index = spread(len(encoded.pairs), num_pairs)
    rows = PairRows(encoded.rows.chosen.take(index), encoded.rows.rejected.take(index), encoded.rows.margins[index])
    return EncodedPairs([encoded.pairs[i] for i in index], rows, encoded.counts)


def _measure(
    name: str, folder: Path, validation: EncodedPairs, test: EncodedPairs, device: torch.device, *, num_bootstrap: int
) -> Report:
    """Score validation and test pairs with the saved model, loaded as any user would."""
    with quiet_transformers():
        model, tokenizer = load_reward_model(folder / "best", device=device)

    def scored(encoded: EncodedPairs, bar: Bar) -> ScoredPairs:
        def score(tokens: Ragged) -> NDArray[np.float32]:
            return score_tokens(model, tokens, pad_token=tokenizer.pad_token_id, bar=bar)

        return ScoredPairs.of(encoded.pairs, chosen=score(encoded.rows.chosen), rejected=score(encoded.rows.rejected))

    with track(f"{name}: scoring pairs", 2 * (len(validation.pairs) + len(test.pairs))) as bar:
        pairs = scored(validation, bar), scored(test, bar)
    return reward_report(*pairs, num_bootstrap=num_bootstrap)


def trained_properties(config: RunConfig, *, held_out: bool = False) -> list[str]:
    """Properties whose reward model (or held-out evaluator) this run trains."""
    models = {name: value for name, value in config.properties.items() if isinstance(value, ModelProperty)}
    if held_out:
        return [name for name, value in models.items() if value.trains_evaluator]
    return [name for name, value in models.items() if value.model is None]


def probed_properties(config: RunConfig) -> list[str]:
    """Trained properties with an encoder of their own: a linear probe on it is reported alongside the reward model."""
    models = {name: value for name, value in config.properties.items() if isinstance(value, ModelProperty)}
    return [name for name in trained_properties(config) if models[name].train.backbone != "sft"]
