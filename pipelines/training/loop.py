"""The supervised training loop that SFT and reward models share; it runs on every Ray Train worker.

A step takes one global batch. Each worker makes its share of forward and backward passes, scaled so that the gradient
is that of (sum of losses) / (sum of units) over the whole batch, whatever the number of workers and passes. Then the
gradient is clipped and AdamW steps. Every `evaluate_every` steps, and at the end, the loss on validation rows is taken;
the trainable weights of the best such moment are kept in memory. A checkpoint of all this is written then, if one is
due; models are written when the training ends.

The models' own dropout is off, as in the alignment: the two sides of a pair would be compared under different noise,
one worker and several would not agree, and on a CPU it costs a third of the speed.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from actors.learning.memory import ROWS, halved_once, in_halves_once, refused_without_memory
from actors.learning.optimizer import adamw, learning_rate_at, set_learning_rate
from actors.messages import Retry
from allgood.batching import token_budget_batches
from allgood.errors import TrainingError
from allgood.scorers.models import resolve_dtype
from pipelines.output.metrics_log import MetricsLog
from pipelines.output.quiet import quiet_transformers
from pipelines.run.termination import Terminated
from pipelines.training.checkpoint import Progress, Trained
from pipelines.training.collate import passes, rows_per_pass, step_batches
from pipelines.training.job import Job
from pipelines.training.resumption import Resumption
from pipelines.training.rows import Rows, Tensors
from pipelines.training.saving import save_model
from pipelines.training.workers import Workers

_EVALUATION_TOKENS = 16_384  # padded tokens per forward pass without gradients
Sums = dict[str, float]


class Trainer:
    """Model, optimiser and the steps of one training on one worker."""

    def __init__(self, job: Job, workers: Workers, model: nn.Module, device: torch.device, *, pad_token: int) -> None:
        self.job, self.workers, self.device, self.pad_token = job, workers, device, pad_token
        self.model = model.to(device)
        self.prepared = workers.prepare(self.model, device)
        self.trainable = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.optimizer = adamw((p for _, p in self.trainable), job.training.optimizer, fused=True)
        self.autocast_dtype = resolve_dtype(job.dtype, device)
        self.lengths, self.units = job.train.lengths, job.train.units
        self.log = MetricsLog(job.metrics)
        trained = Trained(dict(self.trainable), self.optimizer)
        self.resumption = Resumption(job, workers, self.model, trained, self.autocast_dtype)
        self.progress = Progress()

    def run(self) -> Progress:
        """All steps that an earlier try has not made; how far the training has come then.

        Raises:
            Terminated: The command was asked to end. There is a checkpoint of all finished steps.
        """
        job = self.job
        torch.manual_seed(job.seed + self.workers.rank)  # each worker draws its own dropout of adapters
        self._set_mode()
        restored = self.resumption.restored()
        if restored is None:
            self._start_log()
        else:
            self.progress = restored
        batches = step_batches(
            len(self.lengths), batch_size=job.training.batch_size, seed=job.seed, num_steps=job.num_steps
        )
        for batch in islice(batches, self.progress.step, None):
            if self.progress.best.num_worse_since == (job.training.patience or math.inf):
                break
            self._take(batch)
            if self.workers.is_asked_to_end():
                self.resumption.write(self.progress)
                raise Terminated
        return self.progress

    def _take(self, batch: list[int]) -> None:
        """One step, its evaluation where it has one, its row in the log."""
        job, step = self.job, self.progress.step + 1
        row = self._train_on(batch)
        is_evaluated = step % job.training.evaluate_every == 0 or step == job.num_steps
        if is_evaluated:
            validation = self._validate()
            value = validation[job.select]
            best = self.progress.best.after(step, value, self.trainable)
            self.progress = replace(self.progress, last_value=value, best=best)
            row |= {f"validation_{name}": mean for name, mean in validation.items()}
        self._write(row)
        if is_evaluated:
            self.resumption.write_if_due(self.progress)

    def save(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write last/ and best/ with adapters merged; the model keeps the best weights."""
        best = self.progress.best
        save_model(self._plain_model(), tokenizer, self.job.folder / "last")
        if best.step != self.progress.step:
            best.restore(self.trainable)
        save_model(self._plain_model(), tokenizer, self.job.folder / "best")

    def refuse_another_on_disk(self) -> None:
        """Measure best/ as it lies there, so that a report is about the file and not about what was in memory.

        Raises:
            TrainingError: Its validation value is another one; both folders are removed, and the checkpoints.
        """
        best = self.progress.best
        with quiet_transformers():
            saved = self.job.reload(self.job.folder / "best", self.device)
        rows = self.job.validation
        value = self._sums(saved, rows, self._validation_batches())[self.job.select] / int(rows.units.sum())
        tolerance = 2e-2 if self.autocast_dtype == torch.bfloat16 else 1e-3
        if not math.isclose(value, best.value, rel_tol=tolerance, abs_tol=tolerance / 10):
            for name in ("best", "last"):
                shutil.rmtree(self.job.folder / name)
            shutil.rmtree(self.job.checkpoints, ignore_errors=True)
            raise TrainingError(
                f"training {self.job.name}: the saved model has a validation {self.job.select} of {value:.4f}, but "
                f"{best.value:.4f} was measured while it was trained, and nothing was kept; this model is not saved as "
                "it computes: train it without `lora`, or another one"
            )

    def _train_on(self, batch: list[int]) -> dict[str, float]:
        """The step itself, and what is logged of it."""
        began, step, tokens = time.perf_counter(), self.progress.step + 1, self.job.train.tokens_in(batch)
        optimizer = self.job.training.optimizer
        rate = learning_rate_at(optimizer, step=step - 1, total_steps=self.job.num_steps)
        set_learning_rate(self.optimizer, rate)
        units = int(self.units[batch].sum())
        sums = self.workers.add(self._gradients(batch, units))
        norm = float(nn.utils.clip_grad_norm_([p for _, p in self.trainable], optimizer.max_grad_norm))
        self._refuse_non_finite("loss", sums["loss"], step)
        self._refuse_non_finite("gradient norm", norm, step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = self.progress.seconds + time.perf_counter() - began
        self.progress = replace(self.progress, step=step, tokens=self.progress.tokens + tokens, seconds=seconds)
        means = {name: value / units for name, value in sums.items()}
        return {"step": step, **means, "grad_norm": norm, "learning_rate": rate}

    def _gradients(self, batch: list[int], units: int) -> Sums:
        """As `_backward`; where memory does not suffice, a worker without others computes it again in halves."""

        def anew(size: int) -> Sums:
            self.optimizer.zero_grad(set_to_none=True)  # what a pass that broke off has left
            return self._backward(batch, units, size)

        workers, retries = self.workers, list[Retry]()
        size = rows_per_pass(batch, micro_batch_size=self.job.training.micro_batch_size, world_size=workers.world_size)
        if workers.world_size > 1:  # the others wait for this one in the middle of a pass
            return refused_without_memory(anew, size=size, job=self.job.name, rank=workers.rank)
        sums = halved_once(anew, size=size, retries=retries, bound=ROWS)
        self._tell(retries)
        return sums

    def _backward(self, batch: list[int], units: int, micro_batch_size: int) -> Sums:
        """Gradients of this worker's share of a global batch; the sums over its share."""
        sums = dict.fromkeys(self.job.sums, 0.0)
        pieces = passes(
            batch,
            self.lengths,
            micro_batch_size=micro_batch_size,
            rank=self.workers.rank,
            world_size=self.workers.world_size,
        )
        for index, piece in enumerate(pieces):
            # An empty pass runs the model too, because its gradients are averaged with the others'; at weight 0.
            # The average over workers divides by their number, hence the factor.
            scale = self.workers.world_size / units if piece else 0.0
            with self._gradients_travel(last=index == len(pieces) - 1):
                parts = self._loss(self.prepared, self.job.train, piece or batch[:1])
                (parts["loss"] * scale).backward()
            if piece:
                sums = _add(sums, parts)
        return sums

    @torch.no_grad()
    def _validate(self) -> Sums:
        """Means per unit over the validation rows."""
        self.model.eval()
        rows = self.job.validation
        batches = self._validation_batches()[self.workers.rank :: self.workers.world_size]
        sums = self._sums(self.model, rows, batches)
        units = int(rows.units.sum())
        means = {name: value / units for name, value in self.workers.add(sums).items()}
        self._refuse_non_finite("validation loss", means[self.job.select], self.progress.step)
        self._set_mode()
        return means

    def _validation_batches(self) -> list[list[int]]:
        return token_budget_batches(self.job.validation.lengths.tolist(), max_tokens=_EVALUATION_TOKENS)

    @torch.no_grad()
    def _sums(self, model: nn.Module, rows: Rows, batches: Sequence[Sequence[int]]) -> Sums:
        sums, retries = dict.fromkeys(self.job.sums, 0.0), list[Retry]()
        for batch in batches:
            for _, parts in in_halves_once(batch, lambda half: self._loss(model, rows, half), retries):
                sums = _add(sums, parts)
        self._tell(retries)
        return sums

    def _tell(self, retries: Sequence[Retry]) -> None:
        for retry in retries:
            self.resumption.tell(f"training {self.job.name}, after step {self.progress.step}: {retry.reason}")

    def _loss(self, model: nn.Module, rows: Rows, batch: Sequence[int]) -> Tensors:
        tensors = rows.collate(batch, pad_token=self.pad_token)
        tensors = {name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()}
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast_dtype == torch.bfloat16):
            return self.job.loss(model, tensors)

    def _gradients_travel(self, *, last: bool) -> AbstractContextManager[object]:
        """Workers average their gradients once per step, with the last pass."""
        if last or not isinstance(self.prepared, DistributedDataParallel):
            return nullcontext()
        not_yet: AbstractContextManager[object] = self.prepared.no_sync()
        return not_yet

    def _set_mode(self) -> None:
        """Ready for training: dropout off, but for the dropout that `lora` asks for."""
        self.model.eval()
        if self.job.training.lora is not None:
            from pipelines.training.lora import turn_on_dropout

            turn_on_dropout(self.model)

    def _plain_model(self) -> PreTrainedModel:
        if isinstance(self.model, PreTrainedModel):
            return self.model
        from pipelines.training.lora import merged  # peft takes long to import and is rarely needed

        return merged(self.model)

    def _start_log(self) -> None:
        if self.workers.rank == 0:
            self.job.metrics.unlink(missing_ok=True)
            self.log.append({"step": 0, "num_steps": self.job.num_steps, "num_rows": len(self.lengths)})

    def _write(self, row: dict[str, float]) -> None:
        if self.workers.rank == 0:
            self.log.append(row | {"tokens": self.progress.tokens, "seconds": round(self.progress.seconds, 3)})

    def _refuse_non_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"training {self.job.name}: the {what} is {value} at step {step} of {self.job.num_steps}; "
                "nothing was saved; lower `optimizer.learning_rate`, or check the weights that the training starts from"
            )


def _add(sums: Sums, parts: dict[str, Tensor]) -> Sums:
    return {name: value + float(parts[name].detach()) for name, value in sums.items()}
