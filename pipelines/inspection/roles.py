"""How much memory each role of a run needs: the settings of the run put into the formula of `memory`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from transformers import PreTrainedModel

from actors.cluster.placement import Resources
from actors.learning.specs import Ppo
from allgood.scorers.models import resolve_dtype
from allgood.scorers.spec import Reading
from pipelines.cast.request import EVALUATOR, evaluators_of, reference_role, role_device
from pipelines.config.properties import ModelProperty
from pipelines.config.run import RunConfig
from pipelines.config.training import RewardTrainingConfig, TrainingConfig
from pipelines.inspection.memory import Memory, Shape, generating, reading, spread, training
from pipelines.inspection.models import ScorerModel
from pipelines.inspection.shapes import num_adapter_parameters, shape_of

Device = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Role:
    """What one process of a role needs.

    Attributes:
        name, device: Which role, and what it computes on.
        replicas: Such processes.
        memory: Bytes of one.
        work: What it holds at once, in words.
        operations: Floating-point operations of all replicas in one step of the alignment, at most: 2 per parameter and
            token that is read, 6 where it is trained. What attention adds for long texts is left out.
    """

    name: str
    device: Device
    replicas: int
    memory: Memory
    work: str
    operations: float = 0.0

    @property
    def total(self) -> int:
        """Bytes on its device."""
        return self.memory.total + (self.memory.copies if self.device == "cpu" else 0)


def roles(
    config: RunConfig, policy: PreTrainedModel, scorers: Sequence[tuple[ScorerModel, Sequence[PreTrainedModel]]]
) -> list[Role]:
    """All roles of a run, in the order of its stages.

    Args:
        config: The run.
        policy: Its policy; a skeleton without weights is enough.
        scorers: Its scorers and their models or skeletons, one per source.
    """
    shape = shape_of(policy)
    return [
        *_sft(config, policy),
        *(
            _reward_training(config, scorer.name, settings, models[0])
            for scorer, models in scorers
            if (settings := _training_of(config, scorer.name)) is not None
        ),
        _rollout(config, shape),
        *(_scorer(config, scorer, models) for scorer, models in scorers),
        *([_reference_policy(config, shape)] if reference_role(config) == "reference_policy" else []),
        _learner(config, policy),
    ]


def _sft(config: RunConfig, policy: PreTrainedModel) -> Iterator[Role]:
    if config.sft is not None:
        tokens = _rows_per_pass(config.sft.training) * config.sft.max_tokens
        yield _training(config, "SFT", policy, config.sft.training, tokens=tokens, predicted=tokens)


def _reward_training(config: RunConfig, name: str, settings: RewardTrainingConfig, model: PreTrainedModel) -> Role:
    tokens = 2 * _rows_per_pass(settings.training) * settings.max_tokens  # chosen and rejected
    return _training(config, f"training of {name}", model, settings.training, tokens=tokens, predicted=0)


def _training_of(config: RunConfig, name: str) -> RewardTrainingConfig | None:
    """How a scorer is trained; None for a finished one."""
    if name.startswith(EVALUATOR):
        evaluator = evaluators_of(config)[name.removeprefix(EVALUATOR)]
        return evaluator if evaluator.model is None else None
    setting = config.properties[name]
    return setting.train if isinstance(setting, ModelProperty) and setting.model is None else None


def _rows_per_pass(settings: TrainingConfig) -> int:
    return settings.micro_batch_size or -(-settings.batch_size // max(settings.workers, 1))


def _scorer(config: RunConfig, scorer: ScorerModel, models: Sequence[PreTrainedModel]) -> Role:
    """float32, one forward pass at a time."""
    tokens = Reading.micro_batch_tokens
    shapes = [shape_of(model) for model in models]
    parts = [reading(shape, tokens=tokens, predicted=0, width=4) for shape in shapes]
    memory = Memory(
        parameters=sum(part.parameters for part in parts),
        activations=max((part.activations for part in parts), default=0),
    )
    is_judge = scorer.name.startswith(EVALUATOR)  # which no step of the alignment asks
    name = scorer.name if is_judge else f"scorer {scorer.name}"
    work = f"{tokens} tokens per pass" if models else "a function"
    read = min(scorer.max_tokens, config.sampling.max_prompt_tokens + config.sampling.max_new_tokens)
    num_parameters = sum(shape.num_parameters for shape in shapes)
    operations = 0.0 if is_judge else 2.0 * num_parameters * _responses(config) * read
    return Role(name, _device(config, scorer.placement), scorer.placement.replicas, memory, work, operations)


def _training(
    config: RunConfig, name: str, model: PreTrainedModel, settings: TrainingConfig, *, tokens: int, predicted: int
) -> Role:
    shape = shape_of(model)
    num_trained = shape.num_parameters
    if settings.lora is not None:
        num_trained = num_adapter_parameters(model, settings.lora.rank, settings.lora.target_modules)
        shape = replace(shape, num_parameters=shape.num_parameters + num_trained)
    device = _training_device(config, settings)
    width = _width(config, device)
    memory = training(shape, num_trained=num_trained, tokens=tokens, predicted=predicted, width=width)
    return Role(name, device, max(settings.workers, 1), memory, f"{tokens} tokens per pass")


def _rollout(config: RunConfig, shape: Shape) -> Role:
    placement, sampling = config.placement.rollout, config.sampling
    device = _device(config, placement)
    per_chunk = [
        (sampling.prompts_per_chunk, config.align.samples_per_prompt),
        (config.references.prompts_per_chunk, config.references.num_samples),
        (sampling.prompts_per_chunk, config.evaluate.sft_samples_per_prompt),
    ]
    prompts, samples = max(per_chunk, key=lambda chunk: chunk[0] * chunk[1])
    memory = generating(
        shape,
        prompts=prompts,
        samples=samples,
        prompt_tokens=sampling.max_prompt_tokens,
        new_tokens=sampling.max_new_tokens,
        width=_width(config, device),
    )
    work = (
        f"{prompts} prompts x {samples} samples, {sampling.max_prompt_tokens} + {sampling.max_new_tokens} tokens each"
    )
    prefixes = config.align.prompts_per_step if shape.shares_prompts else _responses(config)
    tokens = prefixes * sampling.max_prompt_tokens + _responses(config) * sampling.max_new_tokens
    return Role("rollout", device, placement.replicas, memory, work, 2.0 * shape.num_parameters * tokens)


def _reference_policy(config: RunConfig, shape: Shape) -> Role:
    placement, tokens = config.placement.reference_policy, config.align.micro_batch_tokens
    device = _device(config, placement)
    memory = reading(shape, tokens=tokens, predicted=tokens, width=_width(config, device))
    operations = 2.0 * shape.num_parameters * _tokens_of_a_step(config)
    return Role("reference policy", device, placement.replicas, memory, f"{tokens} tokens per pass", operations)


def _learner(config: RunConfig, policy: PreTrainedModel) -> Role:
    align, placement, shape = config.align, config.placement.learner, shape_of(policy)
    device, tokens = _device(config, placement), align.micro_batch_tokens
    width, num_trained = _width(config, device), shape.num_parameters
    if align.lora is not None:
        num_trained = num_adapter_parameters(policy, align.lora.rank, align.lora.target_modules)
        shape = replace(shape, num_parameters=shape.num_parameters + num_trained)
    memory = training(
        shape,
        num_trained=num_trained,
        tokens=tokens,
        predicted=tokens,
        width=width,
        recomputes=align.gradient_checkpointing,
    )
    if config.kl.estimator == "full" and align.lora is None:  # a pi_0 of its own
        memory = replace(memory, parameters=memory.parameters + width * shape.num_parameters)
    num_shares = placement.replicas if config.placement.learners == "shard" else 1
    # What it starts anew from, which adapters do not need, and what it publishes.
    initial = 0 if align.lora is not None else -(-4 * shape.num_parameters // num_shares)
    memory = replace(spread(memory, num_shares), copies=initial + width * num_trained)
    epochs = align.algorithm.epochs if isinstance(align.algorithm, Ppo) else 1
    # 2 forward, 2 backward for what enters a layer, 2 for its weights where they are trained, 2 to compute it again.
    per_parameter = 4.0 + 2.0 * (align.lora is None) + 2.0 * align.gradient_checkpointing
    operations = per_parameter * epochs * shape.num_parameters * _tokens_of_a_step(config)
    return Role("learner", device, placement.replicas, memory, f"{tokens} tokens per pass", operations)


def _responses(config: RunConfig) -> int:
    """Of one step."""
    return config.align.prompts_per_step * config.align.samples_per_prompt


def _tokens_of_a_step(config: RunConfig) -> int:
    """Prompts and responses, if all are as long as they may be."""
    return _responses(config) * (config.sampling.max_prompt_tokens + config.sampling.max_new_tokens)


def _device(config: RunConfig, placement: Resources) -> Device:
    return "cpu" if role_device(config, placement) == "cpu" else "gpu"


def _training_device(config: RunConfig, settings: TrainingConfig) -> Device:
    if settings.workers:
        return "gpu" if settings.gpus_per_worker else "cpu"
    return "gpu" if config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available()) else "cpu"


def _width(config: RunConfig, device: Device) -> int:
    return resolve_dtype(config.dtype, torch.device("cuda" if device == "gpu" else "cpu")).itemsize
