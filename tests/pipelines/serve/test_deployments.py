"""A reward model is deployed once, however many objectives use it; its resources are Ray's words for the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ray import serve

from actors.cluster.placement import Node, Resources
from allgood.objectives import WeightedSum
from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec, RewardsSpec, StartPolicySpec
from allgood.scorers.spec import FunctionSpec, ModelSpec
from pipelines.serve.deployments import application_of, deployments_of, replica_options, samplers_of
from pipelines.serve.replica import Replica
from pipelines.serve.sampler import SamplerSpec
from pipelines.serve.settings import SamplesSettings, ScorerSettings, ServeSettings

CONSTANT = ReferenceSpec(constant=0.0)
HELPFUL, SHORT = ModelSpec("models/helpful"), FunctionSpec("rules:short")


def spec(**scorers: ModelSpec | FunctionSpec) -> RewardsSpec:
    properties = {name: PropertySpec(scorer, CONSTANT) for name, scorer in scorers.items()}
    return RewardsSpec(properties, WeightedSum(dict.fromkeys(properties, 1.0)))


def test_equal_scorers_share_a_deployment_under_any_name() -> None:
    chosen = deployments_of(
        {"one": spec(helpful=HELPFUL, short=SHORT), "two": spec(useful=HELPFUL)}, ServeSettings(name="one")
    )
    assert chosen["one", "helpful"] is chosen["two", "useful"]
    assert chosen["one", "short"] is not chosen["one", "helpful"]
    assert {deployment.name for deployment in chosen.values()} == {"helpful-0", "short-1"}


def test_a_property_with_settings_of_its_own_has_a_deployment_of_its_own() -> None:
    own = ScorerSettings(resources=Resources(replicas=3, gpus=1.0, threads=4))
    chosen = deployments_of({"one": spec(helpful=HELPFUL, useful=HELPFUL)}, ServeSettings(scorers={"useful": own}))
    assert chosen["one", "helpful"].settings.resources.replicas == 2
    assert chosen["one", "useful"].settings == own
    assert chosen["one", "useful"].replica.threads == 4
    assert len({deployment.name for deployment in chosen.values()}) == 2


def test_names_are_those_that_ray_allows() -> None:
    (deployment,) = deployments_of({"one": spec(**{"höflich & kurz": SHORT})}, ServeSettings()).values()
    assert deployment.name == "h_flich___kurz-0"


def test_resources_are_said_in_rays_words() -> None:
    plain = replica_options(Resources(cpus=0.5))
    assert (plain["num_cpus"], plain["num_gpus"]) == (0.5, 0.0)
    assert plain["runtime_env"] == {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}  # or it would see every GPU of the node
    wanted = Resources(gpus=1.0, memory_gb=2.0, accelerator="in(T4,L4)", labels={"zone": "a"}, resources={"pool": 1.0})
    options = replica_options(wanted)
    assert (options["memory"], options["resources"]) == (2_000_000_000, {"pool": 1.0})
    assert options["label_selector"] == {"zone": "a", "ray.io/accelerator-type": "in(T4,L4)"}
    assert "runtime_env" not in options


def test_without_labels_of_accelerators_the_older_resource_or_the_nodes_are_named() -> None:
    kinds = {"a": ("T4", "x"), "b": ("H100", "x"), "c": ("L4", "x"), "d": ("L4", "y")}
    nodes = [
        Node(name, name, 4.0, (1.0,), accelerators=frozenset([kind]), labels={"zone": zone})
        for name, (kind, zone) in kinds.items()
    ]
    nodes.append(Node("e", "e", 4.0, labels={"zone": "x"}))

    def options(accelerator: str | None) -> dict[str, Any]:
        return replica_options(Resources(gpus=1.0, accelerator=accelerator, labels={"zone": "x"}), nodes)

    assert options("H100")["accelerator_type"] == "H100"
    assert options("H100")["label_selector"] == {"zone": "x"}
    assert options("in(T4,L4)")["label_selector"] == {"zone": "x", "ray.io/node-id": "in(a,c)"}
    assert "accelerator_type" not in options("in(T4,L4)")
    # As with labels, a node without any accelerator passes; it has no GPU to give.
    assert options("!H100")["label_selector"] == {"zone": "x", "ray.io/node-id": "in(a,c,e)"}
    assert options(None)["label_selector"] == {"zone": "x"}
    serve.deployment(Replica, ray_actor_options=options("H100"))  # Serve knows all of these options


def test_equal_start_policies_share_a_deployment() -> None:
    policy = StartPolicySpec("models/policy", seed=1)
    sampled = replace(spec(short=SHORT), start_policy=policy)
    objectives = {"one": sampled, "two": spec(short=SHORT), "three": replace(sampled, start_policy=replace(policy))}
    chosen = samplers_of(objectives, ServeSettings(samples=SamplesSettings(resources=Resources(threads=3))))
    assert set(chosen) == {"one", "three"}
    assert chosen["one"] is chosen["three"]
    assert chosen["one"].replica == SamplerSpec(policy, threads=3)
    other = samplers_of(objectives | {"two": replace(sampled, start_policy=replace(policy, seed=2))}, ServeSettings())
    assert len({deployment.name for deployment in other.values()}) == 2


def test_autoscaling_reaches_ray_serve() -> None:
    settings = ScorerSettings(resources=Resources(replicas=2), max_replicas=5, upscale_delay_s=3.0)
    [deployment] = deployments_of({"one": spec(short=SHORT)}, ServeSettings(scorer=settings)).values()
    scaling = application_of(deployment)._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 5)
    assert (scaling.target_ongoing_requests, scaling.upscale_delay_s) == (2, 3.0)
    [fixed] = deployments_of({"one": spec(short=SHORT)}, ServeSettings()).values()
    assert application_of(fixed)._deployment_config.autoscaling_config is None
    assert application_of(fixed).num_replicas == 2
