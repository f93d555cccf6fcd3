"""The learner: holds the policy that is trained, takes one update per batch, publishes weights.

One actor serves many arms: `start` puts the initial weights back (kept in memory) and makes a fresh optimiser. Weights
and moments are float32; on a GPU with dtype bfloat16 the passes run under autocast. Dropout is off.

With several learners each holds everything and computes its shard of the batch; gradients are summed and divided by
the number of responses of the whole batch, so the update does not depend on how rows are split over learners or
micro-batches (up to float addition).
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.learning import state as learner_state
from actors.learning.group import Peers
from actors.learning.objectives import Loss, MicroBatch, Start, objective
from actors.learning.optimizer import adamw, learning_rate_at, set_learning_rate
from actors.learning.specs import (
    ArmSpec,
    LearnerSpec,
    OptimizerSpec,
    Ppo,
    Rloo,
    arm_from_json,
    arm_to_json,
)
from actors.learning.token_logprobs import micro_batches, response_logprobs
from actors.learning.update_metrics import MetricSums
from actors.learning.value_head import ValueHead, last_hidden_states, response_states
from actors.location import location
from actors.messages import Batch, UpdateResult, Weights
from actors.weights.layout import TensorEntry, layout_of
from actors.weights.outlet import Outlet, PublicationPlan, gathered
from actors.weights.publication import Part
from allgood.errors import RoleError, TrainingError
from allgood.scorers.models import load_policy, resolve_device, resolve_dtype

__all__ = ["ArmSpec", "Learner", "LearnerSpec", "OptimizerSpec", "Ppo", "Rloo"]


class Learner:
    """Trains the policy called `spec.model`."""

    def __init__(self, spec: LearnerSpec) -> None:
        torch.set_num_threads(spec.threads)
        self._spec = spec
        self._device = resolve_device(spec.device)
        self._dtype = resolve_dtype(spec.dtype, self._device)
        self._model = load_policy(spec.model, dtype=torch.float32, device=self._device)
        self._initial = {name: p.detach().to("cpu", copy=True) for name, p in self._model.named_parameters()}
        self._value_head = ValueHead(self._model.get_output_embeddings().in_features).to(self._device)
        self._peers = Peers()
        self._outlet = Outlet(spec.transport)
        self._layout = layout_of(dict(self._model.named_parameters()), self._dtype)
        self._training = ""
        self._version = 0
        self._arm: ArmSpec | None = None
        self._pi_0: PreTrainedModel | None = None

    def start(self, arm: ArmSpec) -> None:
        """Begin an arm: initial weights, zero value head, fresh optimiser, policy version 0."""
        torch.manual_seed(arm.seed)
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(self._initial[name])
        self._value_head.reset()
        self._pi_0 = self._copy_of_pi_0() if arm.kl.estimator == "full" else None
        self._arm, self._version, self._training = arm, 0, uuid.uuid4().hex
        self._parameters: dict[str, nn.Parameter] = dict(self._model.named_parameters())
        if isinstance(arm.algorithm, Ppo):
            self._parameters |= {f"value_head.{name}": p for name, p in self._value_head.named_parameters()}
        self._gradients, self._gradient_parts = _one_buffer(list(self._parameters.values()))
        self._optimizer = adamw(self._parameters.values(), arm.optimizer, fused=False)

    def update(self, batch: Batch) -> UpdateResult:
        """Take one update on (this learner's shard of) a batch; the policy version rises by one.

        Raises:
            TrainingError: Loss, gradient or weights are not finite. The weights of the version before are kept, except
                when the step itself made them non-finite.
            RoleError: No arm was started, the batch comes from a newer version, or a peer is lost.
        """
        started = time.perf_counter()
        arm = self._started_arm()
        if batch.policy_version > self._version:
            raise RoleError(
                f"the batch of step {batch.step} comes from policy version {batch.policy_version}, "
                f"but the learner holds {self._version}; load the checkpoint that made it"
            )
        num_rows = int(self._total(len(batch.groups)))
        if num_rows == 0:
            raise TrainingError(f"step {batch.step} has no responses left to learn from; see its dropped samples")
        sums = MetricSums()
        loss = objective(batch, self._start(batch), arm, sums, total=self._total)
        learning_rate = learning_rate_at(arm.optimizer, step=self._version, total_steps=arm.total_steps)
        set_learning_rate(self._optimizer, learning_rate)
        epochs = arm.algorithm.epochs if isinstance(arm.algorithm, Ppo) else 1
        norms = [self._step(batch, loss, sums, num_rows=num_rows) for _ in range(epochs)]
        self._version += 1
        metrics = sums.means(self._peers, self._device, epochs=epochs)
        metrics |= {"gradient_norm": sum(norms) / epochs, "learning_rate": learning_rate}
        return UpdateResult(self._version, {**metrics, "seconds": time.perf_counter() - started})

    def weights(self) -> Weights:
        """The current policy version, in the dtype it computes in."""
        return self._gathered(self._layout.entries)

    def publication_plan(self) -> PublicationPlan:
        """What the driver needs to know in order to have versions published."""
        return self._outlet.plan(self._layout, is_collective=False)

    def publish(self, part: int, is_broadcast: bool = False) -> Part:
        """Publish one part of the current version, for a notice to the rollout actors; parts come in order.

        With `is_broadcast` those who have met the learner (`join_channel`) receive the part at the same time.
        """
        weights = self._gathered(self._layout.parts[part])
        if is_broadcast:
            self._outlet.broadcast(weights, part)
        return self._outlet.publish(weights, part)

    def _gathered(self, entries: Iterable[TensorEntry]) -> Weights:
        return gathered(entries, self._model.get_parameter, policy_version=self._version, training=self._training)

    def open_channel(self, host: str) -> str:
        """Open the meeting point with the rollout actors on `host`; the address for everybody's `join_channel`."""
        return self._outlet.open_channel(host)

    def join_channel(self, size: int, address: str) -> None:
        """Meet the rollout actors, to whom versions are then broadcast as they are published."""
        self._outlet.join_channel(size, address)

    def save(self, folder: str) -> None:
        """Write everything that `load` needs to continue bitwise; the folder is made if it is missing."""
        arm = self._started_arm()
        root = Path(folder)
        learner_state.make_folder(root)
        learner_state.write_tensors(root / "weights.safetensors", dict(self._model.named_parameters()))
        if isinstance(arm.algorithm, Ppo):
            learner_state.write_tensors(root / "value_head.safetensors", dict(self._value_head.named_parameters()))
        counts = learner_state.write_optimizer(root / "optimizer.safetensors", self._optimizer, self._parameters)
        values = {"policy_version": self._version, "arm": arm_to_json(arm), "optimizer_steps": counts}
        learner_state.write_values(root / "learner.json", {**values, "random_state": learner_state.random_state()})

    def load(self, folder: str) -> None:
        """Continue from a folder written by `save`, arm included.

        Raises:
            CheckpointError: A file is missing or damaged, or belongs to another model.
        """
        root = Path(folder)
        values = learner_state.read_values(root / "learner.json")
        self.start(arm_from_json(values["arm"]))
        learner_state.read_tensors(root / "weights.safetensors", dict(self._model.named_parameters()))
        if isinstance(self._started_arm().algorithm, Ppo):
            learner_state.read_tensors(root / "value_head.safetensors", dict(self._value_head.named_parameters()))
        learner_state.read_optimizer(
            root / "optimizer.safetensors", self._optimizer, self._parameters, values["optimizer_steps"]
        )
        learner_state.set_random_state(values["random_state"])
        self._version = values["policy_version"]

    def save_pretrained(self, folder: str) -> None:
        """Write the policy so that AutoModelForCausalLM.from_pretrained loads it (float32, without tokenizer)."""
        with learner_state.written(Path(folder)):
            self._model.save_pretrained(folder)

    def open_group(self, host: str) -> str:
        """On rank 0: open the learners' meeting point on `host`; returns the address for everybody's `join`."""
        return self._peers.open(host)

    def join(self, rank: int, world_size: int, address: str) -> None:
        """Become one of `world_size` learners; returns when all have come to `address`."""
        self._peers.join(rank, world_size, address, device=self._device, timeout_s=self._spec.timeout_s)

    def location(self) -> dict[str, str | int]:
        """Where this learner runs."""
        return location()

    def _start(self, batch: Batch) -> Start:
        """The learner's policy before this update.

        The behaviour policy's log-probs are the learner's own when the versions agree, and are then taken as they are.
        """
        stale = batch.policy_version != self._version
        pi_0 = self._pi_0 if self._started_arm().kl.placement == "reward" else None
        if not stale and not self._has_values() and pi_0 is None:
            return Start(batch.logprobs)
        logprobs, nothing = list(batch.logprobs), [np.empty(0, np.float32)] * len(batch.groups)
        values, full_kl = list(nothing), list(nothing)
        with torch.no_grad():
            for micro in self._passes(batch, pi_0):
                for index, row in enumerate(micro.rows):
                    length = len(batch.response_tokens[row])
                    if stale:
                        logprobs[row] = micro.padded.logprobs[index, :length].cpu().numpy()
                    if micro.values is not None:
                        values[row] = micro.values[index, :length].cpu().numpy()
                    if micro.padded.full_kl is not None:
                        full_kl[row] = micro.padded.full_kl[index, :length].cpu().numpy()
        return Start(tuple(logprobs), tuple(values), tuple(full_kl))

    def _copy_of_pi_0(self) -> PreTrainedModel:
        """The initial weights in the dtype of the reference policy, for the KL over the whole vocabulary."""
        model = load_policy(self._spec.model, dtype=self._dtype, device=self._device)
        return model.requires_grad_(False)

    def _step(self, batch: Batch, loss: Loss, sums: MetricSums, *, num_rows: int) -> float:
        """One optimiser step over the whole batch; returns the gradient norm before clipping."""
        self._gradients.zero_()
        pi_0 = self._pi_0 if self._started_arm().kl.placement == "loss" else None
        for micro in self._passes(batch, pi_0):
            total = loss(micro, sums)
            (total / num_rows).backward()
            sums.add(loss=total.item(), entropy=micro.padded.entropies.sum().item())
        self._peers.sum_(self._gradients)
        norm: float = torch.linalg.vector_norm(torch.stack([part.norm() for part in self._gradient_parts])).item()
        if not math.isfinite(norm):
            raise TrainingError(
                f"the gradient of step {batch.step} is not finite ({norm}); weights stay at version {self._version}; "
                "lower align.optimizer.learning_rate, or look at this step's rewards and log-probabilities"
            )
        maximum = self._started_arm().optimizer.max_grad_norm
        if norm > maximum:
            self._gradients.mul_(maximum / norm)
        self._optimizer.step()
        self._check_weights(batch.step)
        return norm

    def _passes(self, batch: Batch, pi_0: PreTrainedModel | None) -> Iterator[MicroBatch]:
        """Forward passes over the batch, one per micro-batch; with `pi_0` also the KL to it over the vocabulary."""
        for rows in micro_batches(batch.prompt_tokens, batch.response_tokens, max_tokens=self._spec.micro_batch_tokens):
            prompts = [batch.prompt_tokens[row] for row in rows]
            responses = [batch.response_tokens[row] for row in rows]
            with self._autocast(), last_hidden_states(self._model) as hidden:
                padded = response_logprobs(self._model, prompts, responses, pi_0=pi_0)
            states = response_states(hidden(), prompts, responses) if self._has_values() else None
            yield MicroBatch(rows, padded, None if states is None else self._value_head(states))

    def _check_weights(self, step: int) -> None:
        for name, parameter in self._parameters.items():
            # A sum is finite only if every term is, and needs no second array.
            if not math.isfinite(parameter.detach().sum(dtype=torch.float64).item()):
                raise TrainingError(
                    f"weights of {name!r} are not finite after step {step}; lower align.optimizer.learning_rate "
                    "and resume from the last checkpoint"
                )

    def _total(self, number: float) -> float:
        """Sum of `number` over all learners."""
        total = torch.tensor([number], dtype=torch.float64, device=self._device)
        self._peers.sum_(total)
        return float(total.item())

    def _started_arm(self) -> ArmSpec:
        if self._arm is None:
            raise RoleError("the learner has no arm; call start or load first")
        return self._arm

    def _has_values(self) -> bool:
        return isinstance(self._started_arm().algorithm, Ppo)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._dtype == torch.bfloat16)


def _one_buffer(parameters: Sequence[nn.Parameter]) -> tuple[Tensor, list[Tensor]]:
    """A flat buffer, so that one sum or scale reaches all gradients, and its parts, the parameters' gradients."""
    buffer = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float32, device=parameters[0].device)
    parts = list(buffer.split([p.numel() for p in parameters]))
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return buffer, parts
