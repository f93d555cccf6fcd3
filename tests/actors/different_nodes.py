"""A simulated cluster of different nodes: `python -m tests.actors.different_nodes POLICY_FOLDER RESULT_FILE`.

The nodes claim GPUs that do not exist. Ray books and hides them as on real nodes, and the actors compute on the CPU.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from actors.cluster.admission import admit_when_free
from actors.cluster.cast import CastRequest, Part, spawn
from actors.cluster.placement import Request, Resources
from actors.reward import RewardSpec
from allgood.errors import PlacementError
from allgood.scorers.spec import FunctionSpec
from tests.actors.specs import learner_spec, rollout_spec

LABEL = "ray.io/accelerator-type"


def main(policy: str, result_file: str) -> None:
    """Cast, refuse, and write down what happened."""
    cluster = start_cluster()
    try:
        result = observe(policy, cluster)
    finally:
        ray.shutdown()
        cluster.shutdown()
    Path(result_file).write_text(json.dumps(result))


def start_cluster() -> Cluster:
    """A head without GPUs; L4, T4 and H100 nodes known by their label; an A10G node known by older resources only."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for kind, gpus in (("L4", 1), ("T4", 1), ("H100", 2)):
        cluster.add_node(num_cpus=4, num_gpus=gpus, labels={LABEL: kind}, object_store_memory=80_000_000)
    resources = {"accelerator_type:A10G": 1, "reward_pool": 2}
    cluster.add_node(num_cpus=4, num_gpus=2, resources=resources, object_store_memory=80_000_000)
    cluster.connect(namespace="allgood")
    return cluster


def observe(policy: str, cluster: Cluster) -> dict[str, Any]:
    """Where the roles land on this cluster, and how a request that no node can meet ends."""
    with spawn(request(policy)) as cast:
        print(cast.where())
        places = {f"{role} {replica}": place for (role, replica), place in cast.places().items()}
        landed = {name: accelerator(place["pid"]) for name, place in places.items()}
    refusal, seconds = refused(policy)
    came, told = waited_for_a_node(cluster)
    return {
        "came": came,
        "told": told,
        "landed": landed,
        "threads": {name: place["threads"] for name, place in places.items()},
        "visible_gpus": {name: place["visible_gpus"] for name, place in places.items()},
        "refusal": refusal,
        "refusal_seconds": seconds,
    }


def request(policy: str) -> CastRequest:
    """The paper's cast on different GPUs."""
    rollout = rollout_spec(policy, max_new_tokens=8, max_prompt_tokens=64)
    return CastRequest(
        rollout=Part(rollout, Resources(gpus=1, accelerator="in(L4,L40S)")),
        rewards={
            "helpful": reward("helpful", Resources(labels={LABEL: "T4"})),
            "harmless": reward("harmless", Resources(gpus=0.4, accelerator="A10G")),
            "near": reward("near", Resources(gpus=0.3, shares_gpu_with="reward.harmless")),
            "far": reward(
                "far", Resources(gpus=0.3, apart_from=("reward.harmless",), resources={"reward_pool": 1}, threads=2)
            ),
        },
        learner=Part(learner_spec(policy), Resources(gpus=2, accelerator="!in(T4,L4,A10G)")),
        timeout_s=120,
    )


def reward(name: str, resources: Resources) -> Part:
    """A reward worker of a plain function."""
    return Part(RewardSpec(name, FunctionSpec("tests.actors.functions:shortness")), resources)


def refused(policy: str) -> tuple[str, float]:
    """The message and the seconds of a request for an accelerator that is not there."""
    started = time.monotonic()
    try:
        spawn(CastRequest(learner=Part(learner_spec(policy), Resources(gpus=1, accelerator="A100")), timeout_s=60))
    except PlacementError as error:
        return str(error), time.monotonic() - started
    raise AssertionError("an impossible request was admitted")


def waited_for_a_node(cluster: Cluster) -> tuple[list[str], list[str]]:
    """Accelerators of a node that comes while admission waits for it, and what was said meanwhile."""
    told: list[str] = []
    wanted = [Request("learner", Resources(gpus=1, accelerator="A100"))]
    with ThreadPoolExecutor() as pool:  # a node can be added by the main thread only
        waiting = pool.submit(admit_when_free, wanted, wait_for_nodes_s=60, tell=told.append)
        time.sleep(1.5)
        cluster.add_node(num_cpus=1, num_gpus=1, labels={LABEL: "A100"}, object_store_memory=80_000_000)
        [assignment] = waiting.result()
    return sorted(assignment.accelerators), told


def accelerator(pid: int) -> str:
    """The accelerator of the node on which Ray itself knows this process, so that `Cast` is not its own witness."""
    [actor] = [actor for actor in ray._private.state.actors().values() if actor["Pid"] == pid]
    [node] = [node for node in ray.nodes() if node["NodeID"] == actor["Address"]["NodeID"]]
    old = [name.removeprefix("accelerator_type:") for name in node["Resources"] if name.startswith("accelerator_type:")]
    return node["Labels"].get(LABEL) or old[0]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
