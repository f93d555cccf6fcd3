"""The learner: holds the policy that is trained, takes one update per batch, publishes weights.

One actor serves many arms: `start` puts the initial weights back (kept in memory) and makes a fresh optimiser. Weights
and moments are float32; on a GPU with dtype bfloat16 the passes run under autocast. Dropout is off.

With several learners each computes its shard of the batch; gradients are summed and divided by the number of responses
of the whole batch, so the update does not depend on how rows are split over learners or micro-batches (up to float
addition). Each holds the whole policy, or its rows of every parameter (`spec.is_sharded`): then every pass is a
collective operation, so learners with fewer micro-batches make empty passes.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from actors.learning import state as learner_state
from actors.learning.elsewhere import Elsewhere
from actors.learning.group import Peers
from actors.learning.memory import halved_by_all, halved_once
from actors.learning.objectives import Loss, MicroBatch, Start, objective
from actors.learning.optimizer import adamw, learning_rate_at, set_learning_rate
from actors.learning.policy import Forward, TrainedPolicy
from actors.learning.sharding import Piece, piece_of
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
from actors.messages import Batch, Retry, UpdateResult, Weights
from actors.sources import Find, as_named
from actors.weights.layout import TensorEntry
from actors.weights.outlet import Outlet, PublicationPlan, gathered
from actors.weights.publication import Part
from allgood.errors import RoleError, TrainingError
from allgood.scorers.models import resolve_device, resolve_dtype

__all__ = ["ArmSpec", "Learner", "LearnerSpec", "OptimizerSpec", "Ppo", "Rloo"]

Result = TypeVar("Result")

_VALUE_HEAD = "value_head."  # before the names of its parameters, among those of the policy


class Learner:
    """Trains the policy called `spec.model`."""

    def __init__(self, spec: LearnerSpec, find: Find = as_named) -> None:
        torch.set_num_threads(spec.threads)
        self._spec = spec = replace(spec, model=find(spec.model))
        self._device = resolve_device(spec.device)
        self._dtype = resolve_dtype(spec.dtype, self._device)
        self._policy = TrainedPolicy(spec, self._device)
        self._model = self._policy.model
        self._value_head = ValueHead(self._policy.hidden_size).to(self._device)
        self._peers = Peers()
        self._outlet = Outlet(spec.transport)
        self._training = ""
        self._version = 0
        self._arm: ArmSpec | None = None
        self._pi_0: Forward | None = None

    def start(self, arm: ArmSpec) -> None:
        """Begin an arm: initial weights, zero value head, fresh optimiser, policy version 0."""
        torch.manual_seed(arm.seed)
        self._policy.restore(arm.seed)
        self._value_head.reset()
        self._pi_0 = self._policy.pi_0(self._dtype) if arm.kl.estimator == "full" else None
        self._arm, self._version, self._training = arm, 0, uuid.uuid4().hex
        self._pass_tokens = self._spec.micro_batch_tokens
        others = self._value_parameters()
        self._parameters = {**self._policy.parameters, **others}
        self._gradients = self._policy.gradients(list(others.values()), self._peers)
        self._optimizer = adamw(self._parameters.values(), arm.optimizer, fused=False)

    def limit_passes(self, pass_tokens: int) -> None:
        """Make passes of at most so many padded tokens in this arm; all learners of a policy are told the same."""
        self._started_arm()
        self._pass_tokens = min(self._pass_tokens, pass_tokens)

    def update(self, batch: Batch) -> UpdateResult:
        """Take one update on (this learner's shard of) a batch; the policy version rises by one.

        Raises:
            TrainingError: Loss, gradient or weights are not finite, or memory does not suffice for half a micro-batch.
                The weights of the version before are kept, except when the step itself made them non-finite.
            RoleError: No arm was started, the batch comes from a newer version, a peer is lost, or memory does not
                suffice for a pass that peers take part in.
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
        sums, retries = MetricSums(), list[Retry]()
        with self._peers.watched("it computed the update"):
            start = self._start(batch, retries)
        loss = objective(batch, start, arm, sums, total=self._total)
        learning_rate = learning_rate_at(arm.optimizer, step=self._version, total_steps=arm.total_steps)
        set_learning_rate(self._optimizer, learning_rate)
        epochs = arm.algorithm.epochs if isinstance(arm.algorithm, Ppo) else 1
        with self._peers.watched("it computed the update"):
            norms = [self._step(batch, loss, sums, retries, num_rows=num_rows) for _ in range(epochs)]
        self._version += 1
        metrics = sums.means(self._peers, self._device, epochs=epochs)
        metrics |= {"gradient_norm": sum(norms) / epochs, "learning_rate": learning_rate}
        metrics["seconds"] = time.perf_counter() - started
        return UpdateResult(self._version, metrics, tuple(retries))

    def weights(self) -> Weights:
        """The current policy version, in the dtype it computes in; of a sharded one by all learners together."""
        return self._gathered(self._policy.layout(self._dtype).entries)

    def publication_plan(self) -> PublicationPlan:
        """What the driver needs to know in order to have versions published."""
        return self._outlet.plan(self._policy.layout(self._dtype), is_collective=self._policy.is_sharded)

    def publish(self, part: int, is_broadcast: bool = False) -> Part | None:
        """Publish one part of the current version, for a notice to the rollout actors; parts come in order.

        With `is_broadcast` those who have met the learner (`join_channel`) receive the part at the same time. All
        learners of a sharded policy gather it, tensor by tensor, and only the first one publishes.
        """
        entries = self._policy.layout(self._dtype).parts[part]
        with self._peers.watched("weights were gathered"):
            if self._peers.rank > 0:
                for entry in entries:
                    self._policy.whole(entry.name)
                return None
            weights = self._gathered(entries)
        if is_broadcast:
            self._outlet.broadcast(weights, part)
        return self._outlet.publish(weights, part)

    def open_channel(self, host: str) -> str:
        """Open the meeting point with the rollout actors on `host`; the address for everybody's `join_channel`."""
        return self._outlet.open_channel(host)

    def join_channel(self, size: int, address: str) -> None:
        """Meet the rollout actors, to whom versions are then broadcast as they are published."""
        self._outlet.join_channel(size, address)

    def save(self, folder: str) -> None:
        """Write everything that `load` needs to continue bitwise; the folder is made if it is missing.

        Learners that hold the policy between them all write their share; of others the first one writes everything.
        """
        arm, root, rank = self._started_arm(), Path(folder), self._peers.rank
        if rank > 0 and not self._policy.is_sharded:
            return
        share = learner_state.Share(rank, self._peers.size if self._policy.is_sharded else 1)
        learner_state.make_folder(root)
        learner_state.write_pieces(root, learner_state.WEIGHTS, self._policy.pieces(), share)
        trained = self._trained()
        values = self._value_parameters()
        if rank > 0:  # the first one writes what all hold whole
            trained = {name: parts for name, parts in trained.items() if name not in values}
        counts = learner_state.write_optimizer(root, self._optimizer, trained, share)
        if rank > 0:
            return
        if values:
            learner_state.write_pieces(root, learner_state.VALUE_HEAD, self._value_pieces(), learner_state.Share())
        content = {"policy_version": self._version, "arm": arm_to_json(arm), "optimizer_steps": counts}
        learner_state.write_values(root / "learner.json", {**content, "random_state": learner_state.random_state()})

    def load(self, folder: str) -> None:
        """Continue from a folder written by `save`, arm included, by any number of learners.

        Raises:
            CheckpointError: A file is missing or damaged, or belongs to another model.
        """
        root = Path(folder)
        values = learner_state.read_values(root / "learner.json")
        self.start(arm_from_json(values["arm"]))
        learner_state.read_pieces(root, learner_state.WEIGHTS, self._policy.pieces())
        if self._has_values():
            learner_state.read_pieces(root, learner_state.VALUE_HEAD, self._value_pieces())
        learner_state.read_optimizer(root, self._optimizer, self._trained(), values["optimizer_steps"])
        learner_state.set_random_state(values["random_state"])
        self._version = values["policy_version"]

    def save_pretrained(self, folder: str) -> None:
        """Write the policy so that AutoModelForCausalLM.from_pretrained loads it (float32, without tokenizer)."""
        with learner_state.written(Path(folder)), self._peers.watched("the model was gathered"):
            self._policy.save_pretrained(Path(folder), is_writer=self._peers.rank == 0)

    def sees(self, path: str) -> bool:
        """Whether a file of the driver is there on this node too."""
        return Path(path).is_file()

    def save_elsewhere(self, folder: Elsewhere) -> Mapping[str, Any]:
        """`save` into a folder that is not on this node; what there is to say of the files that this learner wrote."""
        return folder.written(self.save)

    def load_elsewhere(self, folder: Elsewhere) -> None:
        """`load` from a folder that is not on this node."""
        folder.read(self.load)

    def save_pretrained_elsewhere(self, folder: Elsewhere) -> Mapping[str, Any]:
        """`save_pretrained` into a folder that is not on this node; as `save_elsewhere`."""
        return folder.written(self.save_pretrained)

    def open_group(self, host: str) -> str:
        """On rank 0: open the learners' meeting point on `host`; returns the address for everybody's `join`."""
        return self._peers.open(host)

    def join(self, rank: int, world_size: int, address: str) -> None:
        """Become one of `world_size` learners; returns when all have come to `address`."""
        self._peers.join(rank, world_size, address, device=self._device, timeout_s=self._spec.timeout_s)
        if self._spec.is_sharded and world_size > 1:
            self._policy.shard()

    def location(self) -> dict[str, str | int]:
        """Where this learner runs."""
        return location()

    def _start(self, batch: Batch, retries: list[Retry]) -> Start:
        """The learner's policy before this update.

        The behaviour policy's log-probs are the learner's own when the versions agree, and are then taken as they are.
        """
        stale = batch.policy_version != self._version
        pi_0 = self._pi_0 if self._started_arm().kl.placement == "reward" else None
        if not stale and not self._has_values() and pi_0 is None:
            return Start(batch.logprobs)
        return self._in_memory(batch, retries, lambda size: self._measured(batch, pi_0, size, is_stale=stale))

    def _measured(self, batch: Batch, pi_0: Forward | None, size: int, *, is_stale: bool) -> Start:
        logprobs, nothing = list(batch.logprobs), [np.empty(0, np.float32)] * len(batch.groups)
        values, full_kl = list(nothing), list(nothing)
        with torch.no_grad():
            for micro in self._passes(batch, pi_0, size):
                for index, row in enumerate(micro.rows):
                    length = len(batch.response_tokens[row])
                    if is_stale:
                        logprobs[row] = micro.padded.logprobs[index, :length].cpu().numpy()
                    if micro.values is not None:
                        values[row] = micro.values[index, :length].cpu().numpy()
                    if micro.padded.full_kl is not None:
                        full_kl[row] = micro.padded.full_kl[index, :length].cpu().numpy()
        return Start(tuple(logprobs), tuple(values), tuple(full_kl))

    def _step(self, batch: Batch, loss: Loss, sums: MetricSums, retries: list[Retry], *, num_rows: int) -> float:
        """One optimiser step over the whole batch; returns the gradient norm before clipping."""
        pi_0 = self._pi_0 if self._started_arm().kl.placement == "loss" else None
        before = sums.copy()

        def gradient(size: int) -> None:
            self._gradients.zero_()
            sums.restore(before)
            for micro in self._passes(batch, pi_0, size):
                total = loss(micro, sums)
                (total / num_rows).backward()
                sums.add(loss=total.item(), entropy=micro.padded.entropies.sum().item())

        self._in_memory(batch, retries, gradient)
        norm = self._gradients.sum_()
        if not math.isfinite(norm):
            raise TrainingError(
                f"the gradient of step {batch.step} is not finite ({norm}); weights stay at version {self._version}; "
                "lower align.optimizer.learning_rate, or look at this step's rewards and log-probabilities"
            )
        maximum = self._started_arm().optimizer.max_grad_norm
        if norm > maximum:
            self._gradients.scale_(maximum / norm)
        self._optimizer.step()
        self._check_weights(batch.step)
        return norm

    def _in_memory(self, batch: Batch, retries: list[Retry], work: Callable[[int], Result]) -> Result:
        """What `work` makes of the batch in passes of the size that it is given, see `halved_once`."""
        lengths = [len(p) + len(r) for p, r in zip(batch.prompt_tokens, batch.response_tokens, strict=True)]
        widest = max(lengths, default=1) * max(1, len(lengths))  # a learner may have no rows
        size = min(self._pass_tokens, widest)
        if self._policy.is_sharded:  # every pass is one of all learners: none can make others than its peers do
            return halved_by_all(work, limit=self._pass_tokens, size=size, rank=self._peers.rank)
        return halved_once(work, size=size, retries=retries)

    def _passes(self, batch: Batch, pi_0: Forward | None, size: int) -> Iterator[MicroBatch]:
        """Forward passes over the batch, one per micro-batch of up to `size` padded tokens; with `pi_0` also the KL to
        it over the vocabulary.
        """
        batches = micro_batches(batch.prompt_tokens, batch.response_tokens, max_tokens=size)
        # Counted before the first pass: everything that learners do together must come in one order.
        num_empty = self._peers.largest(len(batches)) - len(batches) if self._policy.is_sharded else 0
        for rows in batches:
            prompts = [batch.prompt_tokens[row] for row in rows]
            responses = [batch.response_tokens[row] for row in rows]
            with self._autocast(), last_hidden_states(self._model) as hidden:
                padded = response_logprobs(self._model, prompts, responses, pi_0=pi_0)
            states = response_states(hidden(), prompts, responses) if self._has_values() else None
            yield MicroBatch(rows, padded, None if states is None else self._value_head(states))
        for _ in range(num_empty):
            self._empty_pass(pi_0)

    def _empty_pass(self, pi_0: Forward | None) -> None:
        """Take part in a pass of the other learners, whose gradient this one adds nothing to."""
        ids = torch.zeros((1, 2), dtype=torch.int64, device=self._device)
        with self._autocast():
            if pi_0 is not None:
                with torch.no_grad():
                    pi_0(input_ids=ids, use_cache=False)
            logits = self._model(input_ids=ids, use_cache=False).logits
        if torch.is_grad_enabled():
            (0.0 * logits.amax()).backward()  # the largest is finite, also where tokens are forbidden

    def _check_weights(self, step: int) -> None:
        for name, parameter in self._parameters.items():  # of a sharded policy, this learner's rows
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

    def _value_parameters(self) -> dict[str, nn.Parameter]:
        """Of the value head, which every learner holds whole; none without one."""
        head = self._value_head.named_parameters() if self._has_values() else ()
        return {f"{_VALUE_HEAD}{name}": parameter for name, parameter in head}

    def _value_pieces(self) -> dict[str, Piece]:
        """The same by the names of the head alone."""
        return {name: piece_of(parameter) for name, parameter in self._value_head.named_parameters()}

    def _trained(self) -> dict[str, learner_state.Trained]:
        """What the optimiser steps on, with its place in whole parameters."""
        values = {name: piece_of(parameter) for name, parameter in self._value_parameters().items()}
        pieces = {**self._policy.pieces(), **values}
        return {name: (parameter, pieces[name]) for name, parameter in self._parameters.items()}

    def _gathered(self, entries: Iterable[TensorEntry]) -> Weights:
        return gathered(entries, self._policy.whole, policy_version=self._version, training=self._training)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._dtype == torch.bfloat16)
