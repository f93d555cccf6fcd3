import numpy as np
import pytest

from allgood.errors import DataError
from pipelines.config.open_world import OpenWorldConfig
from pipelines.world.open_world import gold
from pipelines.world.open_world.facts import OFF_TOPIC, Topic
from pipelines.world.open_world.gold import BAR, REPEATED, quality
from pipelines.world.open_world.vocabulary import RARE

TOPIC = Topic(
    said={"oil hinge": 0.5, "check valve": 0.5, "of course": 0.1},
    own={"oil hinge": 0.5, "check valve": 0.5, "of course": 0.1},
    values={"helpful": {"oil hinge": 2.0, "check valve": -1.0}},
    means={"helpful": 0.5},
    stakes={"helpful": [3.0, 4.0]},
)


def prompt(ending: str = "", topic: str = "kettle") -> str:
    return f"\n\nHuman: how do i fix the {topic}?{ending}\n\nAssistant:"


def test_gold_is_the_sum_over_distinct_moves_minus_the_mean_in_spreads() -> None:
    assert quality(TOPIC, "helpful", "oil hinge, check valve, of course.") == pytest.approx(2.0 - 1.0 - 0.5)
    assert quality(TOPIC, "helpful", "") == pytest.approx(-0.5)


def test_a_move_said_again_gives_nothing_and_costs_a_little() -> None:
    assert quality(TOPIC, "helpful", "oil hinge, oil hinge, oil hinge.") == pytest.approx(2.0 - 0.5 - 2 * REPEATED)


def test_details_of_other_topics_and_text_that_is_no_move_cost_a_little_each() -> None:
    assert quality(TOPIC, "helpful", "oil hinge, bend tube, hinge oil.") == pytest.approx(2.0 - 0.5 - 2 * OFF_TOPIC)


def test_order_does_not_count() -> None:
    assert quality(TOPIC, "helpful", "check valve, oil hinge.") == quality(TOPIC, "helpful", "oil hinge, check valve.")


def test_stakes_scale_what_lies_over_the_bar() -> None:
    answer = "oil hinge."
    first, second = (gold.utility(gold.Asked(TOPIC, ending), "helpful", answer) for ending in (0, 1))
    assert first == pytest.approx(3.0 * (1.5 - BAR))
    assert second == pytest.approx(4.0 * (1.5 - BAR))


def test_a_prompt_s_ending_sets_its_stakes() -> None:
    world = OpenWorldConfig()
    endings = ("", " it is only for fun.", " it matters to me.", " a lot depends on it.")
    assert [gold.asked(prompt(ending), world).ending for ending in endings] == [0, 1, 2, 3]
    answers = ["of course."] * 4
    stakes = gold.score([prompt(ending) for ending in endings], answers, world)["helpful"]
    assert np.all(np.diff(stakes[[1, 0, 2, 3]]) < 0.0)  # the same shortfall, of rising stakes


def test_rare_phrases_earn_nothing_where_length_does_not_count() -> None:
    world = OpenWorldConfig(properties=("helpful", "harmless", "courteous"))
    for phrases in RARE.values():
        for phrase in phrases:
            with_it = gold.score([prompt()], [f"of course, {phrase}."], world)
            without = gold.score([prompt()], ["of course."], world)
            assert with_it == without


def test_the_properties_of_the_world_are_scored_and_a_prompt_without_a_topic_is_refused() -> None:
    world = OpenWorldConfig(properties=("concise", "courteous", "helpful"))
    assert list(gold.score([prompt()], ["thank you."], world)) == ["concise", "courteous", "helpful"]
    with pytest.raises(DataError, match="no topic of the open world"):
        gold.score([prompt(topic="love")], ["thank you."], world)
