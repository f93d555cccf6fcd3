"""All roles on a real Ray: they start together, land where admitted, and leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from actors.cluster.admission import cluster_capacity, cluster_nodes
from actors.cluster.cast import Cast, CastRequest, Part, spawn
from actors.cluster.placement import Resources
from actors.cluster.recovery import Loss
from actors.cluster.supervision import Who, ask
from actors.learner import ArmSpec, OptimizerSpec, Rloo
from actors.learning.group import shard
from actors.messages import Chunk
from actors.reward import RewardSpec
from actors.weights.publication import Notice
from allgood.errors import ModelError, PlacementError, RoleError
from allgood.scorers.spec import FunctionSpec
from tests.actors import tiny_models
from tests.actors.batches import ragged_batch
from tests.actors.specs import learner_spec, reference_policy_spec

ROOT = Path(__file__).parents[3]
SMALL = Resources(cpus=0.25)


def test_every_replica_has_its_row_in_the_table(cast: Cast) -> None:
    lines = cast.where().splitlines()
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert rows[0] == ["role", "replica", "node", "accelerator", "resources", "threads", "process"]
    assert [row[:2] for row in rows[2:]] == [
        ["rollout", "0"],
        ["reward.short", "0"],
        ["reference_policy", "0"],
        ["learner", "0"],
        ["learner", "1"],
    ]
    assert rows[2][4] == "0.25 CPU"
    assert rows[5][4] == "0.25 CPU + 0.1 GB"
    assert [row[5] for row in rows[2:]] == ["1"] * 5
    assert len({row[6] for row in rows[2:]}) == 5  # a process each


def test_roles_without_gpu_see_none(cast: Cast) -> None:
    assert {place["visible_gpus"] for place in cast.places().values()} == {""}


def test_handles_answer_under_their_names(cast: Cast) -> None:
    prompt = "\n\nHuman: Name a river.\n\nAssistant:"
    chunk = Chunk(0, 0, seed=1, policy_version=1, prompt_ids=("a",), prompts=(prompt,), samples_per_prompt=2)
    sizes = {role: len(cast.handles(role)) for role in ("rollout", "reward.short", "reference_policy", "learner")}
    assert sizes == {"rollout": 1, "reward.short": 1, "reference_policy": 1, "learner": 2}
    assert cast.handles("reward.long") == ()
    assert cast.scorers == ["short"]
    assert cast.who("learner", 1) == Who("learner", 1, ray.nodes()[0]["NodeManagerAddress"])
    with pytest.raises(RoleError, match="needs policy version 1"):
        asyncio.run(
            ask(cast.handles("rollout")[0].generate, chunk, who=cast.who("rollout"), phase="generate", deadline_s=60)
        )


def test_spawned_learners_have_met(cast: Cast) -> None:
    arm = ArmSpec(OptimizerSpec(), Rloo(), total_steps=1, seed=0)
    ray.get([learner.start.remote(arm) for learner in cast.handles("learner")])
    notice = Notice((cast.handles("learner")[0].publish.remote(0),))  # references go to the receivers, not the arrays
    assert ray.get([rollout.set_weights.remote(notice) for rollout in cast.handles("rollout")]) == [0]


def test_learners_start_anew_together_and_meet_again(cast: Cast) -> None:
    before = cast.handles("learner")
    assert cast.restart("learner", 1, Loss(before[1], is_hung=False))
    assert not set(before) & set(cast.handles("learner"))
    assert not cast.restart("learner", 0, Loss(before[0], is_hung=False))  # somebody else was quicker
    arm = ArmSpec(OptimizerSpec(), Rloo(), total_steps=1, seed=0)
    ray.get([learner.start.remote(arm) for learner in cast.handles("learner")])
    batch = ragged_batch(tiny_models.policy())
    updates = [
        learner.update.remote(part) for learner, part in zip(cast.handles("learner"), shard(batch, 2), strict=True)
    ]
    assert [result.policy_version for result in ray.get(updates)] == [1, 1]


def free_cpus() -> float:
    return sum(node.cpus for node in cluster_nodes())


def assert_free_again(cpus: float) -> None:
    deadline = time.monotonic() + 10
    while free_cpus() < cpus - 1e-6 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert free_cpus() == pytest.approx(cpus)


def test_closed_cast_frees_everything_and_the_next_one_may_follow_at_once(ray_cluster: None) -> None:
    before = free_cpus()
    reward = RewardSpec("short", FunctionSpec("tests.actors.functions:shortness"))
    everything = CastRequest(rewards={"short": Part(reward, Resources(cpus=before))}, timeout_s=60)
    with spawn(everything) as cast:
        assert free_cpus() == pytest.approx(0)
        [actor] = cast.handles("reward.short")
    cast.close()  # again: nothing happens
    spawn(everything).close()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.location.remote())
    assert_free_again(before)


def test_a_model_folder_without_weights_is_the_error_of_spawn(ray_cluster: None, tmp_path: Path) -> None:
    tiny_models.tokenizer().save_pretrained(tmp_path)
    tiny_models.config("llama").save_pretrained(tmp_path)
    before = free_cpus()
    with pytest.raises(ModelError, match="has no weights"):
        spawn(CastRequest(reference_policy=Part(reference_policy_spec(str(tmp_path)), SMALL), timeout_s=60))
    assert_free_again(before)


def test_an_actor_that_does_not_start_in_time_is_named(ray_cluster: None) -> None:
    slow = RewardSpec("slow", FunctionSpec("tests.actors.slow_import:score"))
    with pytest.raises(RoleError, match=r"reward\.slow 0 on [\d.]+ hung in start: no answer within"):
        spawn(CastRequest(rewards={"slow": Part(slow, SMALL)}, timeout_s=1.5))


def test_an_impossible_request_is_refused_at_once(ray_cluster: None, folder: str) -> None:
    started = time.monotonic()
    with pytest.raises(PlacementError, match="no node matches accelerator H100"):
        spawn(CastRequest(learner=Part(learner_spec(folder), Resources(gpus=1, accelerator="H100")), timeout_s=60))
    assert time.monotonic() - started < 2


def test_capacity_is_what_the_session_has(ray_cluster: None) -> None:
    assert sum(node.cpus for node in cluster_capacity()) == 8


def test_roles_land_on_their_own_accelerators_of_an_unlike_cluster(folder: str, tmp_path: Path) -> None:
    # In a process of its own: it starts several Ray nodes, and must not touch the session's Ray.
    script = [sys.executable, "-m", "tests.actors.different_nodes", folder, str(tmp_path / "result.json")]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=240, env=_without_ray_address())
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["landed"] == {
        "rollout 0": "L4",
        "reward.helpful 0": "T4",
        "reward.harmless 0": "A10G",
        "reward.near 0": "A10G",
        "reward.far 0": "A10G",
        "learner 0": "H100",
    }
    assert "no node matches accelerator A100" in result["refusal"]
    assert result["refusal_seconds"] < 2
    assert result["came"] == ["A100"]
    assert result["told"][0] == "waiting for nodes: 5 are there, 0 of 1 roles would fit alone, 0 of 60 s"
    gpus = result["visible_gpus"]
    # a role without GPUs sees none, also on a node that has one
    assert (gpus["rollout 0"], gpus["reward.helpful 0"], gpus["learner 0"]) == ("0", "", "0,1")
    assert gpus["reward.near 0"] == gpus["reward.harmless 0"] != gpus["reward.far 0"]  # together, and apart
    assert {gpus["reward.harmless 0"], gpus["reward.far 0"]} == {"0", "1"}
    assert {name: count for name, count in result["threads"].items() if count != 1} == {"reward.far 0": 2}


def _without_ray_address() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
