import random

import pytest

from pipelines.world.open_world.answers import read, render, write_answer
from pipelines.world.open_world.facts import topics
from pipelines.world.open_world.points import POINTS
from pipelines.world.open_world.vocabulary import RARE, RARE_SHARE

KETTLE = topics(0, POINTS["strong"])["kettle"]


def test_reading_finds_what_was_rendered_in_its_order() -> None:
    moves = ("oil hinge", "of course", "oil hinge", "check valve")
    assert read(render(moves)) == moves


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("", ()),
        (" ,. ", ()),
        ("oil  hinge;check valve", ("oil hinge", "check valve")),
        ("oil\nhinge", ("oil", "hinge")),
    ],
)
def test_any_text_has_moves(text: str, moves: tuple[str, ...]) -> None:
    assert read(text) == moves


def test_a_writer_says_each_move_at_its_rate_once_and_in_the_order_of_the_world() -> None:
    generator = random.Random(0)
    answers = [read(write_answer(KETTLE, generator)) for _ in range(4000)]
    assert all(len(set(answer)) == len(answer) > 0 for answer in answers)
    for move, share in KETTLE.said.items():
        rate = sum(move in answer for answer in answers) / len(answers)
        assert rate == pytest.approx(share, abs=4.5 * (share * (1 - share) / len(answers)) ** 0.5)
    order = list(KETTLE.said)
    assert all(
        [order.index(move) for move in answer] == sorted(order.index(move) for move in answer) for answer in answers
    )


def test_rare_phrases_of_a_property_stand_in_one_answer_of_a_hundred() -> None:
    for phrases in RARE.values():
        assert sum(KETTLE.said[phrase] for phrase in phrases) == pytest.approx(RARE_SHARE)
