"""What adapters share: a failure is told apart, and the log has the same names in every row."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from allgood.errors import ConfigError, DataError
from allgood.integrations.sharing import (
    logged_means,
    logged_rows,
    open_rewards,
    opened,
    refuse_failed,
    refuse_penalty,
    refuse_scale,
    rewards_or_none,
)
from allgood.objectives import WeightedSum
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec, RewardsSpec
from allgood.scorers.spec import FunctionSpec
from tests.allgood.integrations.rewards_for_trainers import folder_of_a_run

EVEN = FunctionSpec("tests.allgood.integrations.rewards_for_trainers:even")


def scorer_of(transform: str, *, penalty: float = 0.0) -> AllGoodScorer:
    """u = letters / 10 - 0.5, before the transform."""
    spec = PropertySpec(EVEN, ReferenceSpec(constant=0.5), transform)
    return AllGoodScorer(RewardsSpec({"even": spec}, WeightedSum({"even": 1.0}), penalty))


def test_a_failed_row_is_none_and_all_failed_is_an_error() -> None:
    scorer = scorer_of("identity")
    scores = scorer.score(["Hi"] * 3, ["four", "odd", "eight .."])
    found = rewards_or_none(scores)
    assert found[1] is None
    assert [value for value in found if value is not None] == pytest.approx([-0.1, 0.3])
    with pytest.raises(DataError, match="Here cannot leave it out: even: scoring failed"):
        refuse_failed(scores, trainer="Here")
    refuse_failed(scorer.score(["Hi"], ["four"]), trainer="Here")
    with pytest.raises(DataError, match="none of 1 responses has a reward"):
        rewards_or_none(scorer.score(["Hi"], ["odd"]))


def test_every_row_logs_the_same_names_and_means_leave_out_what_is_missing() -> None:
    scores = scorer_of("identity").score(["Hi"] * 3, ["four", "odd", "eightt"])
    rows, means = logged_rows(scores), logged_means(scores)
    assert [set(row) for row in rows] == [set(means)] * 3
    assert "allgood/p_all_good" not in means  # a sum says no probability
    assert means["allgood/even/reward"] == pytest.approx(0.5)
    assert means["allgood/failed"] == pytest.approx(1 / 3)
    assert [row["allgood/failed"] for row in rows] == [0, 1, 0]
    assert math.isnan(rows[1]["allgood/utility"])
    assert math.isnan(logged_means(scorer_of("identity").score(["Hi"], ["odd"]))["allgood/utility"])
    assert logged_rows(scorer_of("identity").score([], [])) == []


def test_rewards_are_opened_once_per_process(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path / "rewards")
    assert opened(folder) is opened(folder)
    scorer = open_rewards(tmp_path / "rewards")
    assert isinstance(scorer, AllGoodScorer)
    assert open_rewards(scorer) is scorer
    with pytest.raises(ConfigError, match="there is no file"):
        open_rewards("nowhere")


def test_a_penalty_is_refused_where_nobody_knows_what_was_cut() -> None:
    refuse_penalty(scorer_of("identity"), trainer="Here")
    with pytest.raises(ConfigError, match="which answers were cut, and Here does not tell"):
        refuse_penalty(scorer_of("identity", penalty=0.5), trainer="Here")


def test_a_scale_is_refused_by_what_these_rewards_are() -> None:
    refuse_scale(scorer_of("identity"), "group_std", kl_in_reward=True, switch="set it off")
    with pytest.raises(ConfigError, match="set it off: scale 'group_std' erases what the transform log_sigmoid"):
        refuse_scale(scorer_of("log_sigmoid"), "group_std", kl_in_reward=True, switch="set it off")
