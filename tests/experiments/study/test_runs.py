"""Worlds side by side: one that fails does not take those with it that have not begun."""

from __future__ import annotations

import pytest

from experiments.study.runs import two_at_a_time


@pytest.mark.usefixtures("ray_cluster")
def test_a_failure_is_told_at_once_and_raised_when_the_others_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    ran: list[int] = []

    def run(seed: int) -> None:
        if seed == 0:
            raise RuntimeError("no luck")
        ran.append(seed)

    with pytest.raises(RuntimeError, match="no luck"):
        two_at_a_time(run, range(6), name=lambda seed: f"seed {seed}")
    assert sorted(ran) == [1, 2, 3, 4, 5]
    assert "seed 0: failed (no luck)" in capsys.readouterr().out
