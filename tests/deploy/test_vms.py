"""The cluster of virtual machines, by the schema that `ray up` checks, and the run that it is for."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import ray

from actors.cluster.admit import admit
from actors.cluster.placement import ACCELERATOR_LABEL, Node
from tests.deploy.files import DEPLOY, config_of, documents, objects, requests_of

(CLUSTER,) = documents(DEPLOY / "vms" / "aws.yaml")


def test_the_cluster_is_as_ray_says() -> None:
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.Draft7Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(CLUSTER)
    kinds = CLUSTER["available_node_types"]
    assert CLUSTER["head_node_type"] in kinds
    assert CLUSTER["max_workers"] == sum(kind.get("max_workers", 0) for kind in kinds.values())


def test_the_run_of_the_gpu_job_fits_it_too(tmp_path: Path) -> None:
    config = config_of(objects("ConfigMap")["allgood-run"]["data"]["run.yaml"], tmp_path)
    nodes = [
        Node(
            f"{name}-{n}",
            name,
            cpus=kind["resources"]["CPU"],
            gpus=(1.0,) * kind["resources"].get("GPU", 0),
            accelerators=frozenset([kind.get("labels", {}).get(ACCELERATOR_LABEL)]) - {None},
        )
        for name, kind in CLUSTER["available_node_types"].items()
        for n in range(kind.get("min_workers", 1))
    ]
    for requests in requests_of(config):
        assert all(placed.node != "head" for placed in admit(requests, nodes))


def test_rays_token_is_on_and_travels_as_a_file() -> None:
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in CLUSTER[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ") for command in starts)
    assert CLUSTER["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert CLUSTER["provider"]["use_internal_ips"] is True
