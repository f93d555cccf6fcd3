import math
import random
from dataclasses import replace

import pytest

from pipelines.world.open_world.answers import read
from pipelines.world.open_world.facts import topics
from pipelines.world.open_world.gold import Asked, utility
from pipelines.world.open_world.pairs import draw_pair
from pipelines.world.open_world.points import POINTS
from pipelines.world.open_world.vocabulary import RARE

STRONG = POINTS["strong"]
QUESTION = Asked(topics(0, STRONG)["oven"], 0)


def logit(probability: float) -> float:
    return math.log(probability / (1.0 - probability))


@pytest.mark.parametrize("judged", ["helpful", "courteous"])
def test_the_label_has_the_probability_of_gold_plus_what_raters_overrate(judged: str) -> None:
    generator, overrated_pairs = random.Random(0), 0
    for _ in range(400):
        pair = draw_pair(QUESTION, judged, STRONG, generator)
        texts = (pair.chosen, pair.rejected)
        expected = utility(QUESTION, judged, texts[0]) - utility(QUESTION, judged, texts[1])
        for phrase, spreads in zip(RARE[judged], STRONG.overrated, strict=True):
            more = (phrase in read(texts[0])) - (phrase in read(texts[1]))
            overrated_pairs += more != 0
            expected += more * spreads * QUESTION.topic.stakes[judged][0]
        if abs(expected) < 20.0:
            assert logit(pair.probability) == pytest.approx(expected, rel=1e-6)
        assert texts[0] != texts[1]
    assert overrated_pairs > 0


def test_raters_who_overrate_nothing_are_gold_itself() -> None:
    fair = replace(STRONG, overrated=(0.0, 0.0, 0.0))
    generator = random.Random(1)
    pairs = [draw_pair(QUESTION, "harmless", fair, generator) for _ in range(300)]
    gaps = [utility(QUESTION, "harmless", pair.chosen) - utility(QUESTION, "harmless", pair.rejected) for pair in pairs]
    expected = [1.0 / (1.0 + math.exp(-gap)) for gap in gaps]
    assert [pair.probability for pair in pairs] == pytest.approx(expected)
