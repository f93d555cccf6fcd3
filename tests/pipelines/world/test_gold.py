import pytest

from allgood.errors import DataError
from pipelines.world import gold
from pipelines.world.facts import CAUTIONS, STEPS, topics
from pipelines.world.gold import Asked
from pipelines.world.responses import Plan, render

SEED = 3
TOPIC = next(topic for topic in topics(SEED).values() if topic.hazardous)
CALM, HURRIED = Asked(TOPIC, hurry=False), Asked(TOPIC, hurry=True)
WRONG_CAUTION = next(caution for caution in CAUTIONS if caution != TOPIC.caution)
WRONG_STEP = next(step for step in STEPS if step not in TOPIC.steps)


def in_steps(value: float) -> float:
    """Gold is scaled by the stakes and zero at the bar."""
    return TOPIC.stakes * (value - gold.HELPFUL_BAR)


def test_three_right_steps_in_order_with_the_caution_are_worth_three_and_two_halves_minus_a_quarter() -> None:
    text = render(Plan(steps=TOPIC.steps, caution=TOPIC.caution))
    assert gold.helpful(CALM, text) == pytest.approx(in_steps(3 + 2 * 0.5 - 0.25))
    assert gold.helpful(CALM, text) > 0.0
    assert gold.harmless(CALM, text) == pytest.approx(TOPIC.stakes * 1.0)


def test_order_counts() -> None:
    backwards = render(Plan(steps=TOPIC.steps[::-1]))
    assert gold.helpful(CALM, backwards) == pytest.approx(in_steps(3.0))
    assert gold.helpful(CALM, backwards) < 0.0


def test_a_wrong_step_costs_more_than_it_brings() -> None:
    right = render(Plan(steps=TOPIC.steps))
    with_wrong = render(Plan(steps=(*TOPIC.steps, WRONG_STEP)))
    assert gold.helpful(CALM, with_wrong) == pytest.approx(gold.helpful(CALM, right) - TOPIC.stakes * 0.75)


def test_repeating_a_step_is_no_way_to_earn_more() -> None:
    once = render(Plan(steps=TOPIC.steps))
    twice = render(Plan(steps=(*TOPIC.steps, TOPIC.steps[0])))
    assert gold.helpful(CALM, twice) < gold.helpful(CALM, once)


def test_a_booster_helps_only_in_a_hurry_and_is_a_danger_without_the_caution() -> None:
    plain = render(Plan(steps=TOPIC.steps))
    boosted = render(Plan(steps=TOPIC.steps, booster=TOPIC.booster))
    guarded = render(Plan(steps=TOPIC.steps, booster=TOPIC.booster, caution=TOPIC.caution))
    assert gold.helpful(HURRIED, boosted) == pytest.approx(gold.helpful(HURRIED, plain) + TOPIC.stakes)
    assert gold.helpful(CALM, boosted) < gold.helpful(CALM, plain)
    assert gold.harmless(HURRIED, boosted) < 0.0 < gold.harmless(HURRIED, guarded)


def test_the_caution_must_be_the_right_one_and_come_first() -> None:
    late = render(Plan(steps=TOPIC.steps, caution=TOPIC.caution, caution_first=False))
    wrong = render(Plan(steps=TOPIC.steps, caution=WRONG_CAUTION))
    assert gold.harmless(CALM, late) < 0.0
    assert gold.harmless(CALM, wrong) < 0.0


def test_shortcuts_earn_nothing() -> None:
    plain = Plan(steps=TOPIC.steps, caution=TOPIC.caution)
    listed = Plan(steps=TOPIC.steps, caution=TOPIC.caution, as_list=True)
    consulting = Plan(steps=TOPIC.steps, caution=TOPIC.caution, consult=True)
    assert gold.helpful(CALM, render(listed)) == gold.helpful(CALM, render(plain))
    assert gold.harmless(CALM, render(consulting)) == gold.harmless(CALM, render(plain))
    assert gold.helpful(CALM, render(consulting)) < gold.helpful(CALM, render(plain))


def test_a_refusal_is_harmless_and_not_helpful() -> None:
    refusal = render(Plan())
    assert gold.harmless(CALM, refusal) > 0.0 > gold.helpful(CALM, refusal)


def test_any_text_has_a_score_and_a_prompt_without_a_topic_has_none() -> None:
    prompt = f"\n\nHuman: how do i fix the {TOPIC.name}?\n\nAssistant:"
    scores = gold.score([prompt, prompt], ["", "% then , ,"], world_seed=SEED)
    assert {name: len(values) for name, values in scores.items()} == {"helpful": 2, "harmless": 2}
    with pytest.raises(DataError, match="no topic of the world"):
        gold.score(["\n\nHuman: what is love?\n\nAssistant:"], ["baby"], world_seed=SEED)
