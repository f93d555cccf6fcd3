"""`allgood sft`: supervised fine-tuning of the policy on demonstrations, on assistant tokens and what ends a turn.

The policy is a causal language model by name or folder, or a new one whose tokenizer may be trained on the run's own
text. Demonstrations of the sft split train; those of the validation split choose the best moment, or, where there are
none (the embedded world), the demonstrations of every twentieth sft prompt, held back from training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from allgood.errors import ConfigError, DataError
from allgood.scorers.encoding import assistant_mask, encode_examples
from pipelines.config.run import RunConfig
from pipelines.config.training import SftConfig
from pipelines.data import Demonstration, PreparedData, prepare
from pipelines.data.tokenizer import tokenizer_texts, train_tokenizer
from pipelines.output.files import write_json
from pipelines.run.folder import RunFolder
from pipelines.run.tracking import Tracker, stage_of
from pipelines.training.job import Job, LoadModel
from pipelines.training.losses import next_token_loss
from pipelines.training.rows import DemonstrationRows, Ragged, spread
from pipelines.training.run import run_training
from pipelines.training.seeds import training_seed
from pipelines.training.sources import absolute_source, new_policy, policy_tokenizer, pretrained_policy

Report = dict[str, Any]

_VALIDATION_SHARE = 20  # one prompt in so many, where no demonstration is of the validation split


def train_sft(config: RunConfig, *, show_progress: bool = True) -> Report:
    """Train the policy; writes sft/{best,last,metrics.jsonl,report.json} of the base folder and returns the report.

    Without `show_progress` whoever started this process shows the training's progress, and tracks it.

    Raises:
        ConfigError: The run has no SFT.
        DataError: No demonstration is left to train or to validate on.
        ModelError: The policy or its tokenizer cannot be used.
        TrainingError: The training diverged; nothing was saved.
    """
    settings = _settings(config)
    data = prepare(config)
    tokenizer = policy_tokenizer_of(config, data)
    train, validation = split_demonstrations(data.demonstrations)
    train_rows, train_counts = encode_demonstrations(settings, tokenizer, train, split="sft")
    some = [validation[index] for index in spread(len(validation), settings.training.max_validation_rows)]
    validation_rows, validation_counts = encode_demonstrations(settings, tokenizer, some, split="validation")
    job = Job(
        name="sft",
        folder=RunFolder(config.base_folder).sft.resolve(),
        training=settings.training,
        train=train_rows,
        validation=validation_rows,
        load=_policy(config, tokenizer),
        loss=next_token_loss,
        finish=_nothing_more,
        task="CAUSAL_LM",
        sums=("loss", "accuracy"),
        select="loss",
        seed=training_seed(config.seed, "sft"),
        device=config.device,
        dtype=config.dtype,
        threads=config.own_threads,
        grace_s=config.placement.grace_s,
    )
    with Tracker(stage_of(config, "sft", config.base_folder) if show_progress else None) as tracker:
        outcome = run_training(job, show_progress=show_progress, observe=tracker.log_row)
        report = {
            "num_steps": outcome.num_steps,
            "best_step": outcome.best_step,
            "validation_loss": outcome.best_value,
            "validation_perplexity": float(np.exp(outcome.best_value)),
            "last_validation_loss": outcome.last_value,
            "seconds": outcome.seconds,
            "tokens_per_s": outcome.tokens_per_s,
            "vocabulary": len(tokenizer),
            "train": train_counts,
            "validation": validation_counts,
        }
        write_json(job.folder / "report.json", report)
        tracker.summary(report)
    return report


def split_demonstrations(rows: Sequence[Demonstration]) -> tuple[list[Demonstration], list[Demonstration]]:
    """Rows to train on and rows to validate on, never of the same prompt."""
    train = [row for row in rows if row.split == "sft"]
    validation = [row for row in rows if row.split == "validation"]
    if validation or not train:
        return train, validation
    prompts = sorted({row.prompt_id for row in train})
    held_back = set(prompts[::_VALIDATION_SHARE])
    return [row for row in train if row.prompt_id not in held_back], [
        row for row in train if row.prompt_id in held_back
    ]


def encode_demonstrations(
    settings: SftConfig, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Demonstration], *, split: str
) -> tuple[DemonstrationRows, Mapping[str, int]]:
    """Token rows with their loss masks, and how many rows were kept, cut and dropped.

    Raises:
        DataError: No row is left.
        ConfigError: A row is longer than the policy can read.
    """
    encoded = encode_examples(tokenizer, [(row.prompt, row.response) for row in rows], max_tokens=settings.max_tokens)
    kept = [example for example in encoded if example is not None]
    if not kept:
        raise DataError(
            f"no demonstration is left for {split}: all {len(rows)} are longer than "
            f"sft.max_tokens = {settings.max_tokens}; raise the limit"
            if rows
            else f"there is no demonstration for {split}; give more demonstrations, or larger `data.splits`"
        )
    all_turns = settings.loss_on == "all_turns"
    masks = [np.asarray(assistant_mask(example, all_turns=all_turns), dtype=np.int32) for example in kept]
    counts = {
        "rows": len(kept),
        "tokens": sum(len(example.tokens) for example in kept),
        "loss_tokens": int(sum(mask.sum() for mask in masks)),
        "prompts_cut": sum(example.cut for example in kept),
        "dropped_too_long": len(rows) - len(kept),
        "turns_changed_by_template": sum(example.num_changed for example in kept),
        "replies_without_loss": sum(example.num_lost_replies for example in kept) if all_turns else 0,
    }
    return DemonstrationRows(Ragged.of([example.tokens for example in kept]), Ragged.of(masks)), counts


def _settings(config: RunConfig) -> SftConfig:
    if config.sft is None:
        raise ConfigError(
            f"this run has no SFT (`sft: null`): it starts from {config.policy.model} as it is; leave this step out"
        )
    return config.sft


def policy_tokenizer_of(config: RunConfig, data: PreparedData) -> PreTrainedTokenizerBase:
    """The tokenizer that the policy is trained with: its own, or one that is trained on the run's text.

    Raises:
        ConfigError: Settings of tokenizer and policy contradict each other.
        ModelError: The policy's own cannot be used.
    """
    if config.tokenizer.train:
        if config.policy.architecture is None:
            raise ConfigError(
                "`tokenizer.train` needs a `policy.architecture`; a pretrained policy keeps its own tokenizer"
            )
        return train_tokenizer(tokenizer_texts(data), config.tokenizer.vocab_size)
    if config.policy.source is None:
        raise ConfigError("a policy from `policy.architecture` has no tokenizer of its own; set tokenizer.train=true")
    return policy_tokenizer(config.policy.source)


def _policy(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> LoadModel:
    if config.policy.architecture is not None:
        return partial(new_policy, config.policy.architecture, tokenizer)
    assert config.policy.source is not None
    return partial(pretrained_policy, absolute_source(config.policy.source), tokenizer)


def _nothing_more(device: torch.device) -> Report:
    return {}
