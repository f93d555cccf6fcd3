"""The memory and the arithmetic of a run's roles, from its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.inspection.models import scorer_models
from pipelines.inspection.roles import Role, roles
from pipelines.inspection.shapes import policy_skeleton, scorer_skeleton, shape_of
from tests.actors.tiny_models import config as model_config
from tests.pipelines.inspection.instruct_run import instruct_config

POLICY = policy_skeleton(model_config("llama"))
SCORER = scorer_skeleton(model_config("bert", num_labels=1))
P, S = shape_of(POLICY).num_parameters, shape_of(SCORER).num_parameters


def of_run(folder: Path, **changes: Any) -> dict[str, Role]:
    run = instruct_config(folder, **changes)
    return {role.name: role for role in roles(run, POLICY, [(scorer, [SCORER]) for scorer in scorer_models(run)])}


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Role]:
    align = {"prompts_per_step": 3, "samples_per_prompt": 5, "micro_batch_tokens": 1000}
    return of_run(tmp_path_factory.mktemp("roles"), align=align)


def test_a_run_without_training_has_these_roles(usual: dict[str, Role]) -> None:
    assert list(usual) == ["rollout", "scorer helpful", "scorer harmless", "reference policy", "learner"]
    assert {role.device for role in usual.values()} == {"cpu"}


def test_on_a_cpu_copies_of_weights_count_too(usual: dict[str, Role]) -> None:
    learner = usual["learner"]
    assert learner.memory.copies == (4 + 4) * P  # to start anew from, and to publish
    assert learner.total == learner.memory.total + 8 * P


def test_the_rollout_role_is_as_large_as_its_largest_chunk(usual: dict[str, Role]) -> None:
    assert usual["rollout"].work == "16 prompts x 64 samples, 160 + 16 tokens each"  # of the references


def test_arithmetic_of_a_step_by_hand(usual: dict[str, Role]) -> None:
    responses, longest = 3 * 5, 160 + 16
    assert usual["learner"].operations == 6 * P * responses * longest
    assert usual["reference policy"].operations == 2 * P * responses * longest
    assert usual["rollout"].operations == 2 * P * (3 * 160 + responses * 16)  # prompts are read once
    assert usual["scorer helpful"].operations == 2 * S * responses * longest


def test_a_role_with_a_gpu_computes_in_bfloat16_and_keeps_copies_in_main_memory(tmp_path: Path) -> None:
    places = {role: {"gpus": 0.5} for role in ("rollout", "learner")}
    found = of_run(tmp_path, device="auto", placement=places)
    assert (found["rollout"].device, found["reference policy"].device) == ("gpu", "cpu")
    assert found["rollout"].memory.parameters == 2 * P
    assert found["learner"].memory.parameters == 4 * P  # what is trained stays float32
    assert found["learner"].total == found["learner"].memory.total
    assert found["learner"].memory.copies == (4 + 2) * P


def test_a_reward_model_that_is_trained_with_adapters_has_few_gradients(tmp_path: Path) -> None:
    training = {"batch_size": 8, "workers": 2, "lora": {"rank": 2, "target_modules": ["query"]}}
    properties = {"helpful": {"kind": "model", "train": {"max_tokens": 100, "training": training}}}
    data = {"pairs": {"helpful": {"path": "pairs.jsonl"}}, "prompts": {"path": "prompts.jsonl"}}
    found = of_run(tmp_path, properties=properties, data=data)["training of helpful"]
    assert found.replicas == 2
    assert found.work == "800 tokens per pass"  # a worker's four pairs, both responses
    assert found.memory.gradients == 4 * 2 * 2 * (32 + 32)  # two layers, rank 2
    assert found.memory.parameters == 4 * S + found.memory.gradients


def test_learners_that_share_a_policy_hold_a_part_each_and_recomputed_blocks_keep_less(
    tmp_path: Path, usual: dict[str, Role]
) -> None:
    placement = {"learner": {"replicas": 2}, "learners": "shard"}
    align = {"micro_batch_tokens": 1000, "gradient_checkpointing": True}
    found, whole = of_run(tmp_path, placement=placement, align=align)["learner"], usual["learner"].memory
    assert found.memory.parameters == found.memory.gradients == 2 * P
    assert found.memory.optimizer == 4 * P
    assert found.memory.copies == 2 * P + 4 * P  # its rows to start anew from, and what is published
    layers, h, i = 2, 32, 64
    assert whole.activations - found.memory.activations == 1000 * 4 * ((layers - 1) * (10 * h + 4 * i) - layers * h)


def test_with_adapters_there_is_no_reference_policy_and_little_is_trained(tmp_path: Path) -> None:
    found = of_run(tmp_path, align={"lora": {"rank": 2, "target_modules": ["q_proj"]}})
    adapters = 2 * 2 * (32 + 32)  # of two layers
    assert "reference policy" not in found
    memory = found["learner"].memory
    assert (memory.parameters, memory.gradients, memory.optimizer) == (4 * (P + adapters), 4 * adapters, 8 * adapters)
    assert memory.copies == 4 * adapters
