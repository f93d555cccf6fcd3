"""What of a config decides the result of an alignment: `resume` refuses a checkpoint of another hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.messages import Chunk, Experience
from allgood.all_good import AllGood
from allgood.errors import RoleError
from allgood.formula import Formula
from allgood.objectives import FormulaUtility
from allgood.treatment import Treatment
from pipelines.alignment.checkpoints import config_hash
from pipelines.alignment.setup import Setup, initial_state
from pipelines.config.loading import changed_config
from tests.pipelines.cast.odd_engines import FixedPolicy, FixedRollouts
from tests.pipelines.tiny_run import tiny_config


def hash_with(folder: Path, *overrides: str, **sections: Any) -> str:
    return config_hash(changed_config(tiny_config(folder, **sections), overrides))


def test_where_and_how_a_run_is_watched_and_placed_is_not_its_result(tmp_path: Path) -> None:
    before = hash_with(tmp_path)
    for override in (
        "output_dir=elsewhere",
        "tracking.tensorboard=true",
        "preview.target_kls=[2.5]",
        "placement.rollout.replicas=2",
        "placement.deadline_s=60",
        "properties.short.placement.cpus=3",
    ):
        assert hash_with(tmp_path, override) == before, override


def test_where_the_kl_is_subtracted_is_part_of_the_result(tmp_path: Path) -> None:
    k3 = "kl.estimator=k3"
    assert hash_with(tmp_path, k3) != hash_with(tmp_path, k3, "kl.placement=loss")


def test_a_property_may_be_called_like_a_section(tmp_path: Path) -> None:
    rule = {"kind": "function", "function": "tests.pipelines.tiny_rewards:short"}
    first = hash_with(tmp_path, properties={"preview": rule})
    assert hash_with(tmp_path, "properties.preview.function=a:b", properties={"preview": rule}) != first


@pytest.mark.parametrize("in_float32", [True, False])
def test_a_first_step_whose_sampler_is_another_policy_ends_the_run(in_float32: bool, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    nothing = AllGood({"short": Treatment(transform="log_sigmoid", references=0.0)}, FormulaUtility(Formula("short")))
    setup = Setup(config, [], [], nothing, gold=None, hashes={})
    rollout = FixedRollouts(is_exact=True).generate(Chunk(0, 0, 9, 0, ("a",), ("... Assistant:",), 2))
    experience = Experience(rollout, {}, FixedPolicy().logprobs(rollout))
    with pytest.raises(RoleError, match=r"mean log-prob of -1\.5, but -0\.25 under the reference policy.* 1\.2 nats"):
        setup.plan(has_float32_logprobs=in_float32).assemble([experience], initial_state(config))
