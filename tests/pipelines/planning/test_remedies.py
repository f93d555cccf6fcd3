"""Settings that make a role fit: the cheapest first, and the truth where none do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.config.run import RunConfig
from pipelines.inspection.memory import Memory
from pipelines.inspection.roles import Role
from pipelines.planning.loads import Load
from pipelines.planning.remedies import remedies
from tests.pipelines.tiny_run import tiny_config

_MB = 10**6


def roles_of(config: RunConfig) -> Mapping[str, Role]:
    """A learner with 60 GB of state, of which adapters leave 20, and 1 MB per token; a rollout with 2 GB per prompt."""
    align, placement = config.align, config.placement
    state = (20_000 if align.lora else 60_000) * _MB
    shares = placement.learner.replicas if placement.learners == "shard" else 1
    kept = align.micro_batch_tokens * _MB // (4 if align.gradient_checkpointing else 1)
    prompts = max(config.sampling.prompts_per_chunk, config.references.prompts_per_chunk)
    return {
        "learner": Role("learner", "gpu", 1, Memory(parameters=state // shares, activations=kept), ""),
        "rollout": Role("rollout", "gpu", 1, Memory(cache=prompts * 2_000 * _MB), ""),
        "reward.short": Role("scorer short", "gpu", 1, Memory(parameters=50_000 * _MB), ""),
    }


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return tiny_config(tmp_path, references={"num_samples": 8, "prompts_per_chunk": 16})


def said(config: RunConfig, name: str, has_gb: float) -> str:
    [sentence] = remedies(config, [Load("h100", 0, [name], 77.4, has_gb)], roles_of)
    return sentence


def test_a_smaller_micro_batch_comes_first(config: RunConfig) -> None:
    # 60 + 16.4 + 1 GB as it is; 8192 tokens are 8.2 GB
    assert said(config, "learner", 70) == (
        "learner need about 77.4 GB, more than the 70 GB of each GPU of h100; "
        "learner would fit with align.micro_batch_tokens=8192"
    )


def test_then_checkpointing_then_shares_over_as_many_learners_as_it_takes(config: RunConfig) -> None:
    # a row has 64 + 12 tokens, so the smallest micro-batch is 128: 0.13 GB kept, 0.03 with checkpointing
    assert said(config, "learner", 61.05).endswith("align.micro_batch_tokens=128 align.gradient_checkpointing=true")
    assert said(config, "learner", 20).endswith("placement.learners=shard placement.learner.replicas=4")


def test_adapters_are_the_last_resort_and_some_places_are_too_small_for_anything(config: RunConfig) -> None:
    def lean(config: RunConfig) -> Mapping[str, Role]:
        """The same learner where shares help nothing."""
        placement = config.placement.model_copy(update={"learners": "replicate"})
        return roles_of(config.model_copy(update={"placement": placement}))

    [sentence] = remedies(config, [Load("h100", 0, ["learner"], 77.4, 24)], lean)
    assert sentence.endswith("align.micro_batch_tokens=128 align.gradient_checkpointing=true align.lora.rank=16")
    assert said(config, "learner", 1.5).endswith("no setting makes learner fit there: give it a place with 77 GB")


def test_rollouts_take_smaller_chunks_and_scorers_have_nothing_to_give(config: RunConfig) -> None:
    assert said(config, "rollout", 10).endswith(
        "rollout would fit with sampling.prompts_per_chunk=1 references.prompts_per_chunk=4"
    )
    assert said(config, "reward.short", 24).endswith("give it a place with 51 GB")


def test_roles_that_fit_alone_are_told_to_part(config: RunConfig) -> None:
    load = Load("h100", 0, ["rollout", "reward.short"], 84.0, 80)
    assert remedies(config, [load, load], roles_of) == [
        "rollout and reward.short need about 84.0 GB, more than the 80 GB of each GPU of h100; together they do not "
        "fit, so place them on different ones"
    ]
