from __future__ import annotations

from datetime import datetime, timedelta

from pipelines.run.head import HeadWatch
from pipelines.run.last_words import how_to_go_on, last_words

NOON = datetime(2026, 1, 1, 12)
LOST = "the head of the Ray cluster at 10.0.0.1:6379 does not answer since 12:00:04"


def told(answered: list[bool]) -> list[str]:
    """What a watch says when it looks every four seconds, from noon, and Ray waits for 24."""
    watch = HeadWatch("10.0.0.1:6379", patience_s=24.0)
    lines = []
    for index, has_answered in enumerate(answered):
        if not watch.is_given_up:
            lines.append(watch.look(has_answered, 4.0 * index, NOON + timedelta(seconds=4 * index)))
    return [line for line in lines if line is not None]


def test_a_short_outage_is_not_mentioned() -> None:
    assert told([True, False, False, True, False, False, True]) == []


def test_a_longer_outage_is_mentioned_once_and_so_is_its_end() -> None:
    waits = f"{LOST}; a run waits for it for 24 s"
    assert told([True, *[False] * 5, True, True]) == [
        waits,
        "the head of the Ray cluster at 10.0.0.1:6379 answers again",
    ]


def test_before_ray_gives_up_it_is_said_how_to_go_on() -> None:
    with last_words("`allgood resume x` goes on"):
        lines = told([True, *[False] * 9])
    assert lines[1:] == [f"error: {LOST}, and a run cannot outlive it: `allgood resume x` goes on"]


def test_what_goes_on_is_said_once_and_only_while_it_does() -> None:
    assert how_to_go_on() == "run it again"
    with last_words("a"), last_words("b"), last_words("a"):
        assert how_to_go_on() == "a; b"
    assert how_to_go_on() == "run it again"
