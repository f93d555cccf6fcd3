"""Tokenizers and skeletons of a run's models, each loaded once, before anything with weights is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from allgood.errors import naming
from allgood.scorers.models import load_tokenizer, read_config
from pipelines.config.run import RunConfig
from pipelines.data import PreparedData
from pipelines.inspection.models import PolicyModel, ScorerModel, policy_model, scorer_models
from pipelines.inspection.reading import Reader, scoring_reader
from pipelines.inspection.shapes import policy_skeleton, scorer_skeleton
from pipelines.training.sft import policy_tokenizer_of
from pipelines.training.sources import new_policy, policy_tokenizer


@dataclass(frozen=True)
class RunModels:
    """The models of a run as far as their small files tell. None as a source is the policy's own."""

    policy: PolicyModel
    scorers: Sequence[ScorerModel]
    tokenizers: Mapping[str | None, PreTrainedTokenizerBase]
    policy_skeleton: PreTrainedModel
    scorer_skeletons: Sequence[Sequence[PreTrainedModel]]  # per scorer, one per source

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The policy's."""
        return self.tokenizers[None]

    def scorer_readers(self) -> list[Reader]:
        """Everything that scores or judges by reading tokens; each member of an ensemble on its own."""
        return [
            scoring_reader(name, self.tokenizers[source], max_tokens=scorer.max_tokens)
            for scorer in self.scorers
            for name, source in zip(_names(scorer), scorer.sources, strict=True)
        ]


def run_models(config: RunConfig, data: PreparedData) -> RunModels:
    """What the tokenizers and configurations of a run's models say.

    Raises:
        ModelError: One of them cannot be read; names the property.
        ConfigError: The policy's architecture or tokenizer cannot be made, or the run's `base` starts from another one.
    """
    policy, scorers = policy_model(config), scorer_models(config)
    own = policy_tokenizer_of(config, data) if policy.source is None else policy_tokenizer(policy.source)
    skeleton = _policy_skeleton(config, policy, own)
    tokenizers: dict[str | None, PreTrainedTokenizerBase] = {None: own}
    skeletons = []
    for scorer in scorers:
        with naming(f"property {scorer.name!r}"):
            tokenizers |= {
                source: load_tokenizer(source) for source in scorer.sources if source and source not in tokenizers
            }
            skeletons.append([_scorer_skeleton(scorer, source, skeleton.config) for source in scorer.sources])
    return RunModels(policy, scorers, tokenizers, skeleton, skeletons)


def _policy_skeleton(config: RunConfig, policy: PolicyModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    if policy.source is not None:
        return policy_skeleton(read_config(policy.source))
    assert config.policy.architecture is not None  # `PolicyConfig` has one of the two
    with torch.device("meta"):
        model, _ = new_policy(config.policy.architecture, tokenizer)
    return model


def _scorer_skeleton(scorer: ScorerModel, source: str | None, policy: PreTrainedConfig) -> PreTrainedModel:
    config = policy if source is None else read_config(source)
    if scorer.stage is not None:
        config.num_labels = 1
    return scorer_skeleton(config)


def _names(scorer: ScorerModel) -> list[str]:
    if len(scorer.sources) == 1:
        return [scorer.name]
    return [f"{scorer.name}, member {number}" for number in range(1, len(scorer.sources) + 1)]
