"""A whole plan for a described cluster: nothing is started, no weights are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from allgood.errors import PlacementError
from pipelines.cli import app
from pipelines.config.loading import save_config
from pipelines.config.run import RunConfig
from pipelines.planning.cluster_file import Cluster, read_cluster
from pipelines.planning.measured import measured_for
from pipelines.planning.plan import make_plan
from pipelines.planning.words import plan_lines
from tests.pipelines.inspection.instruct_run import instruct_config

CLUSTER = """
nodes:
  - {name: h100, cpus: 16, gpus: 2, accelerator: H100, memory_gb: 200}
  - {name: t4, count: 3, cpus: 4, gpus: 1, accelerator: T4, memory_gb: 30}
"""
SECONDS = {"rollout": 4.0, "reward.helpful": 1.0, "reward.harmless": 1.0, "reference_policy": 0.5, "learner": 2.0}
CPUS = {"cpus": 0.5}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("plan")
    config = instruct_config(folder, device="auto", align={"prompts_per_step": 16}, sampling={"prompts_per_chunk": 2})
    properties = {
        name: setting.model_dump(mode="json") | {"placement": {"gpus": 0.5, "accelerator": "T4", **CPUS}}
        for name, setting in config.properties.items()
    }
    placement = {
        "rollout": {"gpus": 1, **CPUS},
        "learner": {"gpus": 1, "accelerator": "H100"},
        "reference_policy": CPUS,
    }
    return RunConfig.model_validate(config.model_dump(mode="json") | {"properties": properties, "placement": placement})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    path = tmp_path_factory.mktemp("cluster") / "cluster.yaml"
    path.write_text(CLUSTER)
    return read_cluster(path)


def test_places_threads_and_memory_without_a_measurement(config: RunConfig, cluster: Cluster) -> None:
    plan = make_plan(config, cluster, None, is_here=False)
    assert {each.role: (each.node, each.threads) for each in plan.assignments} == {
        "rollout": ("h100", 5),  # 16 cores for rollout, reference policy and learner
        "reward.helpful": ("t4-1", 2),
        "reward.harmless": ("t4-1", 2),
        "reference_policy": ("h100", 5),
        "learner": ("h100", 5),
    }
    assert [(load.node, load.gpu, list(load.roles)) for load in plan.loads if load.gpu is not None] == [
        ("h100", 0, ["learner"]),  # placed first, as it fits nowhere else
        ("h100", 1, ["rollout"]),
        ("t4-1", 0, ["reward.helpful", "reward.harmless"]),
    ]
    assert plan.remedies == []
    assert plan.speed is None
    assert list(plan_lines(plan))[-1].startswith("no speed is predicted: nothing was measured yet")


def test_replicas_are_recommended_as_far_as_there_is_room(config: RunConfig, cluster: Cluster) -> None:
    speed = make_plan(config, cluster, measured_for(config, None, SECONDS), is_here=False).speed
    assert speed is not None
    # 8 chunks of 4 s from one actor, the last one scored for 1 s, 2 s of update
    assert speed.now.seconds == 8 * 4 + 1 + 2
    assert speed.recommended is not None
    assert speed.then is not None
    # one GPU of a T4 node for both reward models, the others for rollouts next to the H100: 3 in all, 3 rounds
    assert speed.recommended["rollout"] == 3
    assert speed.then.seconds <= 3 * 4 + 2 + 2
    lines = "\n".join(plan_lines(make_plan(config, cluster, measured_for(config, None, SECONDS), is_here=False)))
    assert "as it is: 35 s per step, 102.9 steps per hour" in lines
    assert re.search(r"recommended: 1[56] s per step, .* placement\.rollout\.replicas=3", lines)


def test_a_run_that_has_no_room_is_refused_with_its_table(config: RunConfig, cluster: Cluster) -> None:
    placement = config.placement.model_dump(mode="json") | {"learner": {"gpus": 4}}
    large = RunConfig.model_validate(config.model_dump(mode="json") | {"placement": placement})
    with pytest.raises(PlacementError, match="learner would fit with gpus: 2"):
        make_plan(large, cluster, None, is_here=False)


def test_the_command_prints_the_plan_without_starting_ray(config: RunConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path / "run.yaml")
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    given = [part for name, value in SECONDS.items() for part in ("--seconds", f"{name}={value}")]
    done = CliRunner().invoke(
        app, ["plan", str(tmp_path / "run.yaml"), "--cluster", str(tmp_path / "cluster.yaml"), *given]
    )
    assert done.exit_code == 0, done.output
    assert re.search(r"^reward\.helpful +\| 0 +\| t4-1 \| T4 +\| 0\.5 CPU \+ 0\.5 GPU \| 2$", done.output, flags=re.M)
    assert "speed, from given seconds" in done.output


def test_a_wrong_cluster_file_ends_in_one_line(config: RunConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path / "run.yaml")
    (tmp_path / "cluster.yaml").write_text("nodes: [{name: a}]")
    done = CliRunner().invoke(app, ["plan", str(tmp_path / "run.yaml"), "--cluster", str(tmp_path / "cluster.yaml")])
    assert done.exit_code == 2
    assert "the key `nodes.0.cpus` is missing" in done.stderr
