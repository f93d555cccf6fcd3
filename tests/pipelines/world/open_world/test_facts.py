import math
from statistics import fmean, pstdev

import pytest

from pipelines.config.open_world import OpenWorldConfig
from pipelines.world.open_world.facts import (
    NUM_DETAILS,
    SAID_ON_EVERY_TOPIC,
    STRAY_VARIANCE,
    STRAYS,
    Topic,
    covariance,
    topics,
)
from pipelines.world.open_world.points import POINTS, settings
from pipelines.world.open_world.vocabulary import DETAILS, PROPERTIES, TOPICS

STRONG = POINTS["strong"]
KETTLE = topics(0, STRONG)["kettle"]


def correlation(topic: Topic, first: str, second: str) -> float:
    """Of gold over writers: own moves, and the details of other topics, which cost the same in every property."""
    return covariance(topic.values[first], topic.values[second], topic.said) + STRAY_VARIANCE


def test_the_covariance_of_two_sums_over_independent_moves_by_hand() -> None:
    # Var of a coin with probability 1/2 is 1/4, with 1/5 it is 4/25: 2 * 3 / 4 + 1 * -5 * 4 / 25 = 0.7.
    said = {"a": 0.5, "b": 0.2, "c": 0.9}
    assert covariance({"a": 2.0, "b": 1.0}, {"a": 3.0, "b": -5.0, "c": 1.0}, said) == pytest.approx(0.7)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_on_every_topic_gold_has_variance_one_and_the_correlations_of_the_point(seed: int) -> None:
    for topic in topics(seed, STRONG).values():
        assert [correlation(topic, name, name) for name in PROPERTIES] == pytest.approx([1.0] * len(PROPERTIES))
        assert correlation(topic, "helpful", "harmless") == pytest.approx(-0.34)
        details = dict.fromkeys(topic.values["helpful"], 1.0)
        spread = math.sqrt(covariance(details, details, topic.said))
        with_length = [covariance(topic.values[name], details, topic.said) / spread for name in ("helpful", "harmless")]
        assert with_length == pytest.approx(STRONG.length_correlations)


def test_without_tension_helpful_and_harmless_have_nothing_in_common() -> None:
    topic = topics(0, settings(OpenWorldConfig(tension=False)))["kettle"]
    assert correlation(topic, "helpful", "harmless") == pytest.approx(0.0, abs=1e-8)
    assert correlation(topic, "helpful", "concise") == pytest.approx(STRAY_VARIANCE)  # and length counts in neither
    assert correlation(KETTLE, "helpful", "concise") < -0.1


@pytest.mark.parametrize(
    ("switch", "sigma"), [("properties_differ", STRONG.sigma_prompts), ("prompts_differ", STRONG.sigma_properties)]
)
def test_log_stakes_spread_over_prompts_and_over_properties_as_the_point_says(switch: str, sigma: float) -> None:
    world = OpenWorldConfig.model_validate({"kind": "open", switch: False})
    for name in PROPERTIES:
        logs = [math.log(nats) for topic in topics(world.seed, settings(world)).values() for nats in topic.stakes[name]]
        assert fmean(logs) == pytest.approx(math.log(STRONG.spread))
        assert pstdev(logs) == pytest.approx(sigma, rel=1e-3)


def test_a_switch_takes_the_difference_between_prompts_or_between_properties_away() -> None:
    alike = topics(0, settings(OpenWorldConfig(prompts_differ=False, properties_differ=False))).values()
    assert {nats for topic in alike for name in PROPERTIES for nats in topic.stakes[name]} == {STRONG.spread}
    prompts = topics(0, settings(OpenWorldConfig(properties_differ=False)))
    assert all(prompts[name].stakes["helpful"] == prompts[name].stakes["harmless"] for name in TOPICS)
    assert len({prompts[name].stakes["helpful"][0] for name in TOPICS}) == len(TOPICS)
    properties = topics(0, settings(OpenWorldConfig(prompts_differ=False)))["kettle"].stakes
    assert len(set(properties["helpful"])) == 1
    assert properties["helpful"] != properties["harmless"]


def test_topics_share_details_but_not_what_they_are_worth() -> None:
    facts = topics(0, STRONG)
    for name in TOPICS[1:]:
        for move in KETTLE.values["helpful"].keys() & facts[name].values["helpful"].keys():
            assert KETTLE.values["helpful"][move] != facts[name].values["helpful"][move]


def test_another_seed_has_other_facts_and_another_point_only_other_stakes() -> None:
    assert topics(1, STRONG)["kettle"].said != KETTLE.said
    weak = topics(0, POINTS["weak"])["kettle"]
    assert weak.said == KETTLE.said
    assert weak.values == KETTLE.values
    assert weak.stakes != KETTLE.stakes


def test_moves_come_in_the_same_order_on_every_topic() -> None:
    assert list(KETTLE.said) == list(topics(0, STRONG)["oven"].said) != sorted(KETTLE.said)


def test_details_of_other_topics_are_said_now_and_then() -> None:
    strays = [KETTLE.said[move] for move in KETTLE.said if move not in KETTLE.own]
    assert len(strays) == len(DETAILS) - NUM_DETAILS
    assert sum(strays) == pytest.approx(STRAYS)
    assert KETTLE.own.keys() > SAID_ON_EVERY_TOPIC.keys()
