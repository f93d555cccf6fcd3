"""A reward model is deployed once, however many objectives use it; its resources are Ray's words for the settings."""

from __future__ import annotations

from actors.cluster.placement import Resources
from allgood.objectives import WeightedSum
from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec, RewardsSpec
from allgood.scorers.spec import FunctionSpec, ModelSpec
from pipelines.serve.deployments import deployments_of, replica_options
from pipelines.serve.settings import ScorerSettings, ServeSettings

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
