"""Checkpoints as often as they are cheap."""

from __future__ import annotations

from pipelines.training.pace import Pace


def test_a_checkpoint_of_two_seconds_is_followed_by_forty_without() -> None:
    now = [100.0]
    pace = Pace(lambda: now[0])
    assert pace.is_due()
    with pace.writing():
        now[0] = 102.0
    now[0] = 141.9
    assert not pace.is_due()
    now[0] = 142.0
    assert pace.is_due()


def test_one_that_takes_no_time_is_due_at_once_again() -> None:
    pace = Pace(lambda: 5.0)
    with pace.writing():
        pass
    assert pace.is_due()
