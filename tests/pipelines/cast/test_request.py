"""What the roles of a run are made of: every setting of the config reaches its actor."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.cluster.cast import CastRequest
from actors.learning.specs import LearnerSpec, Lora
from actors.rollout import Adapters, RolloutSpec
from actors.weights.transports import Broadcast, ObjectStore, SharedFiles
from allgood.errors import ConfigError
from allgood.scorers.combination import LowerBound
from allgood.scorers.spec import EnsembleSpec
from pipelines.alignment.checkpoints import config_hash
from pipelines.cast.request import (
    align_request,
    reference_request,
    reference_role,
    role_resources,
    rollout_part,
    scorer_spec,
)
from pipelines.config.loading import load_config, save_config
from pipelines.config.run import RunConfig
from tests.actors.tiny_models import save_policy
from tests.pipelines.tiny_run import tiny_config


@pytest.fixture(autouse=True)
def start_policy(tmp_path: Path) -> None:
    (tmp_path / "base" / "sft" / "best").mkdir(parents=True)  # nothing is loaded


def changed(folder: Path, section: str, **changes: object) -> RunConfig:
    sections = tiny_config(folder).model_dump(mode="json")
    return RunConfig.model_validate(sections | {section: sections[section] | changes})


def specs(request: CastRequest) -> tuple[RolloutSpec, LearnerSpec]:
    assert request.rollout is not None
    assert request.learner is not None
    rollout, learner = request.rollout.spec, request.learner.spec
    assert isinstance(rollout, RolloutSpec)
    assert isinstance(learner, LearnerSpec)
    return rollout, learner


def test_rollout_actors_have_the_sampling_of_the_config(tmp_path: Path) -> None:
    save_policy(tmp_path / "base" / "sft" / "best")
    sampling = {"max_new_tokens": 7, "max_prompt_tokens": 31, "stop": ["\n\nUser:", "###"]}
    spec = rollout_part(tiny_config(tmp_path, sampling=sampling)).spec
    assert isinstance(spec, RolloutSpec)
    assert (spec.max_new_tokens, spec.max_prompt_tokens, spec.stop) == (7, 31, ("\n\nUser:", "###"))


def test_an_ensemble_of_the_config_is_the_value_that_scores(tmp_path: Path) -> None:
    combine = {"kind": "lower_bound", "penalty": 0.5}
    setting = {"kind": "ensemble", "members": ["a", "b"], "combine": combine, "max_tokens": 17}
    config = tiny_config(tmp_path, properties={"tone": setting}, objective={"kind": "formula", "expression": "tone"})
    expected = EnsembleSpec(("a", "b"), LowerBound(0.5), max_tokens=17, device="cpu")
    assert scorer_spec(config, "tone") == expected
    assert config.properties["tone"].model_dump(mode="json")["combine"] == combine


def test_a_key_that_a_combination_does_not_have_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    save_config(tiny_config(tmp_path), path)
    setting = "{kind: ensemble, members: [a, b], combine: {kind: lower_bound, penalti: 2}}"
    with pytest.raises(ConfigError, match=r"unknown key `properties.tone.combine.penalti`; did you mean .*penalty"):
        load_config(path, [f"properties.tone={setting}"])
    with pytest.raises(ConfigError, match=r"`properties.tone.combine.penalty` is -1; allowed: a number >= 0"):
        load_config(path, [f"properties.tone={setting.replace('penalti: 2', 'penalty: -1')}"])


def test_by_default_every_learner_holds_everything_and_weights_go_through_the_object_store(tmp_path: Path) -> None:
    request = align_request(tiny_config(tmp_path))
    rollout, learner = specs(request)
    assert (learner.lora, learner.is_sharded, learner.gradient_checkpointing) == (None, False, False)
    assert learner.transport == ObjectStore()
    assert rollout.adapters is None
    assert request.reference_policy is not None


def test_with_adapters_the_rollout_actors_are_the_reference_policy_while_pi_0_is_sampled_plain(tmp_path: Path) -> None:
    config = changed(tmp_path, "align", lora={"rank": 4, "target_modules": ["q_proj"]}, gradient_checkpointing=True)
    request, lora = align_request(config), Lora(rank=4, target_modules=("q_proj",))
    rollout, learner = specs(request)
    assert (learner.lora, learner.gradient_checkpointing) == (lora, True)
    assert rollout.adapters == Adapters(lora, config.align.micro_batch_tokens)
    assert request.reference_policy is None
    assert reference_role(config) == "rollout"
    sampling = reference_request(config).rollout
    assert sampling is not None
    assert isinstance(sampling.spec, RolloutSpec)
    assert sampling.spec.adapters is None


def test_files_travel_in_the_run_folder_unless_another_is_given(tmp_path: Path) -> None:
    given = changed(tmp_path, "placement", weights={"kind": "files", "folder": str(tmp_path / "shared")})
    config = changed(tmp_path, "placement", weights={"kind": "files"})
    folders = [specs(align_request(each))[1].transport for each in (config, given)]
    assert folders == [SharedFiles(folder=str(config.folder / "weights")), SharedFiles(folder=str(tmp_path / "shared"))]


def test_how_weights_travel_and_who_holds_them_may_change_between_start_and_resume(tmp_path: Path) -> None:
    other = changed(tmp_path, "placement", weights={"kind": "broadcast", "timeout_s": 5.0}, learners="shard")
    _, learner = specs(align_request(other))
    assert learner.transport == Broadcast(timeout_s=5.0)
    assert learner.is_sharded
    assert config_hash(other) == config_hash(tiny_config(tmp_path))
    assert config_hash(changed(tmp_path, "align", lora={})) != config_hash(tiny_config(tmp_path))


@pytest.mark.parametrize("lora", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 0.1}, {"target_modules": "all"}])
def test_what_adapters_cannot_be_is_refused(tmp_path: Path, lora: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="lora"):
        changed(tmp_path, "align", lora=lora)


@pytest.mark.parametrize("align", [{}, {"lora": {"rank": 4}}])
def test_what_roles_ask_for_is_known_before_there_are_models(tmp_path: Path, align: dict[str, object]) -> None:
    placement = {"rollout": {"replicas": 2, "threads": 3}, "learner": {"cpus": 0.5}}
    config = tiny_config(tmp_path, placement=placement, threads=2, align=align)
    save_policy(tmp_path / "base" / "sft" / "best")
    asked = {role: part.resources for role, part in align_request(config).parts().items()}
    assert role_resources(config) == asked
    assert list(role_resources(config)) == list(asked)
    assert (asked["rollout"].threads, asked["learner"].threads) == (3, 2)
