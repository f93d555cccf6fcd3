"""The rollout worker: answers chunks with samples of the policy version that the chunk names."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from actors.generation.engine import Engine, EngineKind
from actors.generation.stopping import response_texts
from actors.generation.torch_engine import TorchEngine
from actors.learning.adapters import add_adapters, without_adapters
from actors.learning.specs import Lora
from actors.learning.token_logprobs import rollout_logprobs
from actors.location import location
from actors.messages import Chunk, LogProbs, Rollout, Weights
from actors.sources import Find, as_named
from actors.weights.broadcasting import receive
from actors.weights.channel import Channel
from actors.weights.layout import WeightLayout
from actors.weights.publication import Notice, fetch
from allgood.errors import ModelError, RoleError
from allgood.scorers.encoding import encode_prompts
from allgood.scorers.lengths import shortfall
from allgood.scorers.models import check_policy_tokenizer, load_policy, load_tokenizer, resolve_device, resolve_dtype
from allgood.scorers.policy_format import response_form
from allgood.scorers.token_ids import check_token_ids


@dataclass(frozen=True)
class Adapters:
    """What is trained instead of the policy's weights, and the padded tokens per forward pass of pi_0."""

    lora: Lora
    micro_batch_tokens: int


@dataclass(frozen=True)
class RolloutSpec:
    """What a rollout actor is made of. Version 0 is the policy called `model`, the start policy.

    Without `stop` responses end where the policy's format ends them. With `adapters` it receives those only, and the
    policy without them is pi_0.
    """

    model: str
    max_new_tokens: int
    max_prompt_tokens: int
    stop: tuple[str, ...] | None
    device: str
    dtype: str
    threads: int
    engine: EngineKind
    adapters: Adapters | None = None


class RolloutWorker:
    """Holds one version of the policy, in an engine that samples from it at temperature 1."""

    def __init__(self, spec: RolloutSpec, find: Find = as_named) -> None:
        torch.set_num_threads(spec.threads)
        self._spec = spec = replace(spec, model=find(spec.model))
        self._tokenizer = load_tokenizer(spec.model)
        check_policy_tokenizer(self._tokenizer)
        self._stop = response_form(self._tokenizer).stop if spec.stop is None else spec.stop
        self._model = _policy(spec, self._tokenizer)
        self._engine = _engine(spec, self._model, self._tokenizer, self._stop)
        self._channel = Channel()
        self._policy_version, self._training = 0, ""

    def has_exact_logprobs(self) -> bool:
        """Whether the log-probs of its rollouts are the policy's own; see `Engine.exact_logprobs`."""
        return self._engine.exact_logprobs

    def has_float32_logprobs(self) -> bool:
        """Whether its log-probs are the policy's own in float32, so that they can be compared token by token."""
        return self._engine.exact_logprobs and _dtype(self._spec) == torch.float32

    def set_weights(self, notice: Notice) -> int:
        """Sample from the published version that the notice tells of; returns the version held.

        Raises:
            RoleError: A name or shape does not fit the policy, or the version is older than the one held.
        """
        return self._take(fetch(notice))

    def join_channel(self, rank: int, size: int, address: str, timeout_s: float) -> None:
        """Meet the learner and the other rollout actors at `address`, to receive what it broadcasts."""
        self._channel.join(rank, size, address, timeout_s=timeout_s)

    def receive(self, layout: WeightLayout) -> int:
        """Sample from the version that the learner broadcasts next; returns the version held.

        Raises:
            RoleError: A member of the group was lost. The version held stays, and `set_weights` is the way to the next.
        """
        return self._take(receive(self._channel, layout))

    def _take(self, weights: Weights) -> int:
        if weights.training == self._training and weights.policy_version < self._policy_version:
            raise RoleError(
                f"weight version {weights.policy_version} is older than version {self._policy_version}, which this "
                "rollout worker holds; a training never goes back, except by loading a checkpoint"
            )
        self._engine.set_weights(weights)
        self._policy_version, self._training = weights.policy_version, weights.training
        return self._policy_version

    def generate(self, chunk: Chunk) -> Rollout:
        """Sample the chunk's responses.

        Raises:
            RoleError: The chunk names another policy version than the one held.
        """
        if chunk.policy_version != self._policy_version:
            raise RoleError(
                f"chunk {chunk.index} of step {chunk.step} needs policy version {chunk.policy_version}, "
                f"but this rollout worker holds version {self._policy_version}; publish the weights to it first"
            )
        started = time.perf_counter()
        prompts = encode_prompts(self._tokenizer, chunk.prompts, max_tokens=self._spec.max_prompt_tokens)
        generation = self._engine.generate([prompt.tokens for prompt in prompts], chunk.samples_per_prompt, chunk.seed)
        return Rollout(
            chunk=chunk,
            prompt_tokens=tuple(np.array(prompt.tokens, dtype=np.int32) for prompt in prompts),
            response_tokens=generation.tokens,
            logprobs=generation.logprobs,
            entropies=generation.entropies,
            responses=response_texts(self._tokenizer, generation.tokens, generation.finish_reasons, self._stop),
            finish_reasons=generation.finish_reasons,
            num_prompts_cut=sum(prompt.cut for prompt in prompts),
            seconds=time.perf_counter() - started,
        )

    def reference_logprobs(self, rollout: Rollout) -> LogProbs:
        """Log pi_0 of every response token id of the rollout, by the policy without its adapters.

        Raises:
            RoleError: The policy has none.
        """
        if self._spec.adapters is None:
            raise RoleError(
                "nobody here knows pi_0: there is no reference_policy actor, and the rollout worker has no adapters"
            )
        with without_adapters(self._model):
            tokens = self._spec.adapters.micro_batch_tokens
            return rollout_logprobs(self._model, rollout, micro_batch_tokens=tokens)

    def location(self) -> dict[str, str | int]:
        """Where this worker runs."""
        return location()


def _policy(spec: RolloutSpec, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    model = load_policy(spec.model, dtype=_dtype(spec), device=resolve_device(spec.device))
    if spec.adapters is not None:
        add_adapters(model, spec.adapters.lora)
    model.requires_grad_(False)
    check_token_ids(model, tokenizer, spec.model)
    _check_context(model, spec)
    return model


def _engine(
    spec: RolloutSpec, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...]
) -> Engine:
    match spec.engine:
        case "torch":
            return TorchEngine(model, tokenizer, max_new_tokens=spec.max_new_tokens, stop=stop)


def _dtype(spec: RolloutSpec) -> torch.dtype:
    return resolve_dtype(spec.dtype, resolve_device(spec.device))


def _check_context(model: PreTrainedModel, spec: RolloutSpec) -> None:
    needed = spec.max_prompt_tokens + spec.max_new_tokens
    short = shortfall(model, needed)
    if short is not None:
        raise ModelError(
            f"sampling needs {needed} positions (max_prompt_tokens {spec.max_prompt_tokens} + max_new_tokens "
            f"{spec.max_new_tokens}), but policy {spec.model!r} {short}; lower one of the two limits"
        )
