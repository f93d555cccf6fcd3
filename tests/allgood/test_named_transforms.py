import pytest
import torch

from allgood import transforms
from allgood.named_transforms import Anchors, named
from allgood.transform_facts import FACTS


def twice(reward, reference):
    return 2 * (reward - reference)


def shapeless(reward, reference):
    return reward.sum()


def infinite(reward, reference):
    return reward / 0


NOT_A_FUNCTION = 3


def test_every_transform_has_its_own_name():
    for facts in FACTS:
        assert named(facts.name).function is vars(transforms)[facts.name]
        assert named(facts.name).facts is facts


def test_log_probabilities_are_never_above_0():
    reward, draws = torch.linspace(-50, 50, 201), torch.zeros(201, 7)
    for facts in FACTS:
        if facts.is_log_prob and facts.needs == "reference":
            assert (named(facts.name).function(reward, 0.0) <= 0).all()
        if facts.is_log_prob and facts.needs == "draws":
            assert (named(facts.name).function(reward, draws) <= 0).all()


def test_an_unknown_name_is_refused_with_the_nearest_known():
    with pytest.raises(ValueError, match="unknown transform 'log_sigmod': did you mean 'log_sigmoid'"):
        named("log_sigmod")
    with pytest.raises(ValueError, match="unknown transform 'xyz': known are identity"):
        named("xyz")


def test_a_users_function_is_found_by_path():
    transform = named(f"{__name__}:twice")
    assert transform.facts.needs == "reference"
    assert transform.function(torch.tensor([3.0]), 1.0).tolist() == [4.0]


@pytest.mark.parametrize("path", ["no_such_module_here:f", f"{__name__}:missing", f"{__name__}:NOT_A_FUNCTION"])
def test_a_path_that_leads_nowhere_is_refused(path):
    with pytest.raises(ValueError, match="cannot be imported|has no function"):
        named(path)


def test_a_users_function_must_return_finite_utilities_in_the_shape_of_the_rewards():
    with pytest.raises(ValueError, match="shapeless.*must have the same shape"):
        named(f"{__name__}:shapeless").function(torch.ones(2), 0.0)
    with pytest.raises(ValueError, match="infinite.*must be finite"):
        named(f"{__name__}:infinite").function(torch.ones(2), 0.0)


def test_a_transform_takes_what_it_needs_from_the_anchors():
    rewards, draws = torch.tensor([[3.0]]), torch.tensor([[1.0, 5.0]])
    anchors = Anchors(torch.tensor([1.0]), draws, (1.0, 4.0))
    assert named("identity").utilities(rewards, anchors).tolist() == [[2.0]]  # 3 - 1
    assert named("calibrated").utilities(rewards, anchors).tolist() == [[0.5]]  # one draw below, one above
    assert named("z_score").utilities(rewards, anchors).tolist() == [[0.5]]  # (3 - 1) / 4
    assert named("log_prob").utilities(-rewards, anchors).tolist() == [[-3.0]]
    with pytest.raises(ValueError, match="needs draws from pi_0"):
        named("calibrated").utilities(rewards, Anchors(0.0))
    with pytest.raises(ValueError, match="needs mean and std over all pi_0 samples"):
        named("z_score").utilities(rewards, Anchors(0.0))


def test_options_reach_the_function_and_unknown_ones_are_refused():
    rewards = torch.tensor([[3.0]])
    assert named("clip").with_options({"high": 1.0}).utilities(rewards, Anchors(0.0)).tolist() == [[1.0]]
    with pytest.raises(ValueError, match="transform 'tanh' has no option 'high'"):
        named("tanh").with_options({"high": 1.0})
