"""The Kubernetes objects: what the published schemas say of them, and what they promise about each other."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from actors.cluster.admit import admit
from actors.cluster.placement import ACCELERATOR_LABEL, Node, Request
from allgood.errors import PlacementError
from pipelines.config.loading import load_config
from pipelines.serve.access import OPEN_PATHS, token_for
from pipelines.serve.settings import TOKEN_VARIABLE, load_settings
from tests.deploy.files import DEPLOY, MANIFESTS, ROOT, config_of, documents, objects, parsed, requests_of
from tests.deploy.schemas import schemas

JOBS = objects("RayJob")
SERVICE = objects("Deployment")["allgood-rewards"]
POLICIES = objects("NetworkPolicy")
ALL = [document for path in MANIFESTS for document in documents(path)]
GIBIBYTE = 1.024**3  # in GB


def templates() -> Iterator[tuple[str, Any]]:
    """Every pod template, with where it is."""
    for name, job in JOBS.items():
        cluster = job["spec"]["rayClusterSpec"]
        yield f"{name} head", cluster["headGroupSpec"]["template"]
        yield from ((f"{name} {group['groupName']}", group["template"]) for group in cluster["workerGroupSpecs"])
    yield "allgood-rewards", SERVICE["spec"]["template"]


TEMPLATES = dict(templates())


def nodes_of(job: Any) -> list[Node]:
    """The Ray nodes that KubeRay starts for a job, as its groups say."""
    nodes = []
    for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        accelerator = group.get("labels", {}).get(ACCELERATOR_LABEL)
        for replica in range(group["replicas"]):
            name = f"{group['groupName']}-{replica}"
            nodes.append(
                Node(
                    name,
                    name,
                    cpus=float(limits["cpu"]),
                    gpus=(1.0,) * int(limits.get("nvidia.com/gpu", 0)),
                    memory_gb=gigabytes(limits["memory"]),
                    accelerators=frozenset([accelerator] if accelerator else []),
                )
            )
    return nodes


def here(path: str | Path) -> Path:
    """A file of the image in this checkout; jobs name it in full, as KubeRay promises no folder to start in."""
    return ROOT / Path(path).relative_to("/opt/allgood")


def gigabytes(quantity: str) -> float:
    assert quantity.endswith("Gi")
    return float(quantity[:-2]) * GIBIBYTE


@pytest.mark.parametrize("document", ALL, ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_an_object_is_as_its_published_schema_says(document: Any) -> None:
    jsonschema.Draft202012Validator(schemas()[document["kind"]]).validate(document)


def test_the_schema_refuses_a_key_that_kubernetes_would_drop_and_a_wrong_value() -> None:
    validator = jsonschema.Draft202012Validator(schemas()["RayJob"])
    for change in ({"shutdownAfterJobFinish": True}, {"backoffLimit": "twice"}, {"submissionMode": None}):
        job = copy.deepcopy(JOBS["allgood-smoke"])
        job["spec"] |= change
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(job)
    job = copy.deepcopy(JOBS["allgood-smoke"])
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(jsonschema.ValidationError, match="volumeMount"):
        validator.validate(job)


def test_the_run_of_the_gpu_job_fits_its_cluster_and_every_role_runs_where_its_group_says(tmp_path: Path) -> None:
    config = config_of(objects("ConfigMap")["allgood-run"]["data"]["run.yaml"], tmp_path)
    nodes = nodes_of(JOBS["allgood-align"])
    align, reference = (admit(requests, nodes) for requests in requests_of(config))
    groups = {"learner": "learner", "rollout": "rollout", "reference_policy": "rollout"}
    assert len(align) == 6
    for placed in [*align, *reference]:
        assert placed.node.startswith(groups.get(placed.role, "reward")), placed
    fewer = [node for node in nodes if node.name != "rollout-l4-2"]
    with pytest.raises(PlacementError):
        admit(requests_of(config)[0], fewer)


def test_the_smoke_run_fits_its_cluster() -> None:
    words = shlex.split(JOBS["allgood-smoke"]["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", "pipelines.cli"]
    arguments = parsed(words[3:]).params
    config = load_config(here(arguments["config"]), arguments["overrides"])
    assert str(config.output_dir).startswith("/shared/")
    placement, lanes = config.placement, range(config.comparison.lanes)
    shared = [Request(name, setting.placement) for name, setting in config.properties.items()]
    shared.append(Request("reference_policy", placement.reference_policy))
    own = [(f"{role}.{n}", getattr(placement, role)) for role in ("rollout", "learner") for n in lanes]
    assert len(admit([*shared, *(Request(*lane) for lane in own)], nodes_of(JOBS["allgood-smoke"]))) == 7


def test_a_job_that_is_tried_again_goes_on_in_the_folder_of_its_run_file(tmp_path: Path) -> None:
    job = JOBS["allgood-align"]["spec"]
    script, run_file, run_folder = shlex.split(job["entrypoint"])
    assert job["backoffLimit"] > 0
    assert here(script).stat().st_mode & 0o111
    mounts = job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert Path(run_file).parent == Path(next(mount["mountPath"] for mount in mounts if mount["name"] == "run"))
    config = config_of(objects("ConfigMap")["allgood-run"]["data"][Path(run_file).name], tmp_path)
    assert str(config.folder) == run_folder
    assert JOBS["allgood-smoke"]["spec"]["backoffLimit"] == 0  # `quickstart` starts from the beginning


@pytest.mark.parametrize("name", JOBS)
def test_the_cluster_of_a_job_has_rays_token_on_and_runs_the_tested_ray(name: str) -> None:
    cluster = JOBS[name]["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"\nray=={cluster['rayVersion']}\n" in constraints
    assert cluster["headGroupSpec"]["resources"]["CPU"] == "0"  # no actor on the head: its loss ends the cluster


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_pod_has_no_privilege_and_knows_no_credential_of_kubernetes(template: Any) -> None:
    spec = template["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["requests"] == container["resources"]["limits"]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_pod_has_room_for_the_object_store_and_its_volumes_exist(template: Any) -> None:
    spec = template["spec"]
    (container,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    (shm,) = (mount for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm")
    size = gigabytes(volumes[shm["name"]]["emptyDir"]["sizeLimit"])
    assert volumes[shm["name"]]["emptyDir"]["medium"] == "Memory"
    assert size < gigabytes(container["resources"]["limits"]["memory"]) * 0.51  # it counts as memory of the pod
    claims = [
        volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if "persistentVolumeClaim" in volume
    ]
    assert set(claims) <= set(objects("PersistentVolumeClaim"))
    maps = [volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume]
    assert set(maps) <= set(objects("ConfigMap"))


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_network_policy_covers_each_pod_and_says_who_may_connect(template: Any) -> None:
    labels = template["metadata"]["labels"]
    (policy,) = (
        item["spec"]
        for item in POLICIES.values()
        if item["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    )
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for rule in policy["ingress"]:
        assert rule["from"]  # without it everybody may connect
        own = [source.get("podSelector", {}).get("matchLabels") == labels for source in rule["from"]]
        assert rule.get("ports") or all(own), "all ports are for pods of the same kind alone"


def test_every_secret_comes_from_kubernetes_and_a_comment_says_how_to_make_it() -> None:
    for path in MANIFESTS:
        text = path.read_text(encoding="utf-8")
        assert "kind: Secret" not in text
        for name in re.findall(r"secret(?:KeyRef|Ref): \{name: ([\w-]+)", text):
            assert f"kubectl create secret generic {name} " in text
        assert not re.search(r"name: \w*(TOKEN|KEY|SECRET)\w*, value:", text)


def test_the_service_of_rewards_starts_with_its_settings_and_its_probes_need_no_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (container,) = SERVICE["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "pipelines.cli", "serve"]
    parsed(["serve", *container["args"]])
    settings = load_settings(None, container["args"][1:])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv(TOKEN_VARIABLE, "x" * 32)
    assert token_for(settings) == "x" * 32
    assert [entry["name"] for entry in container["env"] if "valueFrom" in entry] == [TOKEN_VARIABLE]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in OPEN_PATHS
    assert settings.port == container["ports"][0]["containerPort"]
    assert objects("Service")["allgood-rewards"]["spec"]["ports"][0]["port"] == settings.port
    grace = SERVICE["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > settings.limits.drain_s


def test_the_manifests_that_comments_name_exist() -> None:
    for path in MANIFESTS:
        for name in re.findall(r"deploy/[\w/.-]+\.yaml", path.read_text(encoding="utf-8")):
            assert (DEPLOY.parent / name).is_file(), name
