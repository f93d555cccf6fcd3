"""A training on one of its workers, from the model that it starts with to the folders of its results."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from allgood.errors import ConfigError
from allgood.scorers.lengths import shortfall
from allgood.scorers.models import resolve_device
from pipelines.training.job import Job, Outcome
from pipelines.training.loop import Trainer
from pipelines.training.padding import refuse_reading_padding
from pipelines.training.rows import PairRows
from pipelines.training.workers import Workers


def train(job: Job, workers: Workers) -> Outcome | None:
    """Train, save best/ and last/; the first worker returns the outcome, the others None.

    What an earlier try has left in checkpoints/ is gone on from, to the same end. They are removed with the last step.

    Raises:
        TrainingError: A loss, a gradient or a validation value is not finite; names the step.
        AllgoodError: The disk is full.
    """
    with _torch_threads(job.threads):
        device = workers.device or resolve_device(job.device)
        torch.manual_seed(job.seed)
        model, tokenizer = job.load()
        _refuse_longer_than_the_model_reads(job, model)
        if isinstance(job.train, PairRows):
            model.eval()
            refuse_reading_padding(model, job.train.chosen, pad_token=tokenizer.pad_token_id, name=job.name)
        trainer = Trainer(job, workers, _with_adapters(model, job), device, pad_token=tokenizer.pad_token_id)
        progress = trainer.run()
        if workers.rank != 0:
            return None
        trainer.save(tokenizer)
        trainer.refuse_another_on_disk()
        outcome = Outcome(
            num_steps=progress.step,
            best_step=progress.best.step,
            best_value=progress.best.value,
            last_value=progress.last_value,
            seconds=progress.seconds,
            tokens_per_s=progress.tokens / progress.seconds,
            finished=job.finish(device),
        )
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        return outcome


def _refuse_longer_than_the_model_reads(job: Job, model: PreTrainedModel) -> None:
    longest = int(max(job.train.lengths.max(), job.validation.lengths.max()))
    short = shortfall(model, longest)
    if short is not None:
        raise ConfigError(
            f"training {job.name}: a conversation has {longest} tokens, but the model {short}; "
            "lower `max_tokens` of this training"
        )


def _with_adapters(model: PreTrainedModel, job: Job) -> nn.Module:
    if job.training.lora is None:
        return model
    from pipelines.training.lora import add_adapters

    return add_adapters(model, job.training.lora, task=job.task)


@contextmanager
def _torch_threads(num_threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
