"""What is made of raw rewards: failures stay failures, and a log P(good) is one."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from allgood.errors import RoleError
from allgood.treatment import Treatment, treat

NAN = float("nan")


def declared(rewards: Tensor, references: Tensor) -> Tensor:
    """A user's own "log P(good)", which is none above a margin of 0."""
    return rewards - references


OWN = "tests.allgood.test_treatment:declared"


def test_a_failed_score_and_a_prompt_without_reference_are_nan_and_the_others_are_not() -> None:
    rewards = np.float32([[2.0, NAN], [0.0, 1.0]])
    view = treat(Treatment("", "log_sigmoid", {"x": 1.0, "y": NAN}), rewards, ["x", "y"], property_name="a")
    # z = 1; log sigma(1) = -0.313262
    np.testing.assert_allclose(view.utilities, [[-0.313262, NAN], [NAN, NAN]], rtol=1e-5)
    assert view.failed.tolist() == [[False, True], [True, True]]
    assert view.rewards[1].tolist() == [0.0, 1.0]  # still known
    assert np.isnan(view.references[1]).all()


@pytest.mark.parametrize(
    ("transform", "expected"),
    [("identity", "margin"), ("log_sigmoid", "margin"), ("sigmoid", "margin"), ("log_prob", "rounded_log_prob")],
)
def test_the_transform_says_where_p_good_is_read(transform: str, expected: str) -> None:
    treatment = Treatment("", transform, 0.0)
    assert treat(treatment, np.float32([[-1.0]]), ["x"], property_name="a").good_from == expected
    assert treatment.facts.is_log_prob == transform.startswith("log")


def test_draws_give_a_log_probability_of_their_own() -> None:
    treatment = Treatment("", "log_mean_sigmoid", 0.5, draws={"x": np.float32([0.0, 1.0])})
    view = treat(treatment, np.float32([[1.0]]), ["x"], property_name="a")
    assert view.good_from == "log_prob"
    # mean of sigma(1) and sigma(0)
    np.testing.assert_allclose(view.p_good, [[(0.731059 + 0.5) / 2]], rtol=1e-5)


def test_a_declared_log_probability_may_not_be_above_0() -> None:
    treatment = Treatment("", OWN, 0.0, good_from="rounded_log_prob")
    assert treatment.facts.is_log_prob
    assert treat(treatment, np.float32([[-1.0, NAN]]), ["x"], property_name="own").p_good[0, 0] == np.exp(-1.0)
    with pytest.raises(RoleError, match=rf"'{OWN}' of property 'own' is declared is_log_prob, but gives 0\.69"):
        treat(treatment, np.float32([[-1.0, np.log(2.0)]]), ["x"], property_name="own")


def test_a_users_own_transform_is_no_log_probability_unless_declared() -> None:
    assert not Treatment("", OWN, 0.0).facts.is_log_prob
    assert treat(Treatment("", OWN, 1.0), np.float32([[4.0]]), ["x"], property_name="own").good_from == "margin"
