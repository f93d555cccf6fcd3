"""What configurations and tokenizers say of the models that a new run is to use; no weights are read."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from allgood.errors import ModelError, naming
from allgood.scorers.lengths import usable_length
from allgood.scorers.model_files import check_model_folder
from allgood.scorers.models import check_policy, load_tokenizer, read_config
from pipelines.inspection.ending import Ending, ending
from pipelines.inspection.memory import Shape
from pipelines.inspection.shapes import policy_skeleton, scorer_skeleton, shape_of
from pipelines.training.sources import policy_tokenizer

_CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True)
class PolicyFacts:
    """A policy. `context` is how many tokens it reads, None where nothing limits it."""

    model: str
    shape: Shape
    context: int | None
    has_template: bool
    ending: Ending


@dataclass(frozen=True)
class ScorerFacts:
    """A reward model (one label) or classifier (several). `labels` are the names of its labels, in order."""

    property_name: str
    model: str
    shape: Shape
    context: int | None
    labels: tuple[str, ...]

    @property
    def is_classifier(self) -> bool:
        """Whether it gives probabilities, not rewards."""
        return len(self.labels) > 1


@dataclass(frozen=True)
class Machine:
    """What there is to run on. `gpu_bytes` is the memory of the smallest GPU."""

    num_cpus: int
    memory_bytes: int
    num_gpus: int = 0
    gpu_bytes: int = 0


def policy_facts(model: str) -> PolicyFacts:
    """What is known of a policy.

    Raises:
        ModelError: There is no such model, or it is no policy.
    """
    check_policy(model)
    tokenizer = policy_tokenizer(model)
    skeleton = policy_skeleton(read_config(model))
    return PolicyFacts(
        model,
        shape_of(skeleton),
        usable_length(skeleton),
        has_template=bool(tokenizer.chat_template),
        ending=ending(model, skeleton.config, tokenizer, None),
    )


def scorer_facts(property_name: str, model: str) -> ScorerFacts:
    """What is known of a scorer.

    Raises:
        ModelError: There is no such model, or it is no sequence classifier; names the property.
    """
    with naming(f"--reward {property_name}"):
        check_model_folder(model)
        config = read_config(model)
        if not any(name.endswith(_CLASSIFIER) for name in config.architectures or []):
            raise ModelError(
                f"{model!r} is no sequence classifier but {_architectures(config)}, so it gives no rewards; give a "
                "reward model, or train one (`data.pairs`)"
            )
        load_tokenizer(model)
        skeleton = scorer_skeleton(config)
    labels = tuple(str(label) for _, label in sorted((config.id2label or {}).items()))
    return ScorerFacts(property_name, model, shape_of(skeleton), usable_length(skeleton), labels)


def this_machine() -> Machine:
    """The one that this process runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = [torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count())]
    return Machine(os.cpu_count() or 1, memory, len(gpus), min(gpus, default=0))


def _architectures(config: PreTrainedConfig) -> str:
    return " or ".join(config.architectures or [config.model_type])
