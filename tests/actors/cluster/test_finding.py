"""Models on the nodes of a cluster: found, or missed by role and node."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.cluster.finding import finder, sources_of
from actors.cluster.recipe import Recipe
from actors.reward import RewardSpec
from allgood.errors import ModelError, StorageError
from allgood.scorers.spec import EnsembleSpec, FunctionSpec
from tests.actors.specs import learner_spec, reference_policy_spec


def test_the_models_of_several_specs_are_named_once() -> None:
    specs = [
        learner_spec("/policy"),
        reference_policy_spec("/policy"),
        RewardSpec("short", FunctionSpec("module:function")),
        RewardSpec("liked", EnsembleSpec(("/first", "owner/second"))),
    ]
    assert sources_of(specs) == ["/policy", "/first", "owner/second"]


def test_a_folder_that_only_the_driver_has_is_missed_by_role_and_node(tmp_path: Path) -> None:
    find = finder(Recipe(learner_spec(str(tmp_path / "policy"))), "learner 0 on 10.0.0.2")
    assert find(str(tmp_path / "policy")) == str(tmp_path / "policy")  # the driver has none: loading says what is wrong
    (tmp_path / "policy").mkdir()
    find = finder(Recipe(learner_spec(str(tmp_path / "policy"))), "learner 0 on 10.0.0.2")
    assert find(str(tmp_path / "policy")) == str(tmp_path / "policy")
    (tmp_path / "policy").rmdir()  # as on another node
    with pytest.raises(ModelError, match=f"learner 0 on 10.0.0.2 does not see {tmp_path}/policy, which the driver has"):
        find(str(tmp_path / "policy"))


def test_where_a_node_finds_it_elsewhere_it_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    recipe = Recipe(learner_spec(str(tmp_path / "policy")), find=lambda source: source.replace("policy", "cached"))
    find = finder(recipe, "learner 0 on 10.0.0.2")
    (tmp_path / "policy").rmdir()
    assert find(str(tmp_path / "policy")) == str(tmp_path / "cached")


def test_a_store_that_does_not_give_a_model_is_told_with_role_and_node() -> None:
    def no_answer(source: str) -> str:
        raise StorageError("cannot read s3://runs/objects (Could not connect)")

    find = finder(Recipe(learner_spec("/policy"), find=no_answer), "learner 0 on 10.0.0.2")
    with pytest.raises(StorageError, match=r"learner 0 on 10.0.0.2 cannot get /policy: cannot read s3://runs/objects"):
        find("/policy")
