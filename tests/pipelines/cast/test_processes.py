"""What processes compute with, and when the promise of equal bits ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from actors.cluster.cast import Cast
from actors.location import processor
from pipelines.cast import processes as module
from pipelines.cast.processes import Processes, changes, kinds_of, threads_in

ONE = {"threads": 1, "gpu": "", "cpu": "A"}
TWO = {"threads": 2, "gpu": "", "cpu": "A"}
ELSEWHERE = {"threads": 1, "gpu": "", "cpu": "B"}


def test_equal_processes_change_nothing_whatever_their_number() -> None:
    assert changes({"rollout": [ONE]}, {"rollout": [ONE]}) == []
    assert changes({"rollout": [ONE, ELSEWHERE]}, {"rollout": [ELSEWHERE]}) == []
    assert changes({}, {"rollout": [ONE]}) == []  # a checkpoint of an earlier version says nothing


def test_other_threads_or_another_processor_are_named_with_their_role() -> None:
    [sentence] = changes({"rollout": [ONE], "learner": [ONE]}, {"rollout": [TWO], "learner": [ONE]})
    assert sentence.startswith("rollout computes with threads 1 before, 2 now: from here on results may differ")
    [sentence] = changes({"reward.x": [ONE]}, {"reward.x": [ONE, ELSEWHERE]})
    assert sentence.startswith("reward.x computes with processor A before, B now")


def test_learners_are_compared_rank_by_rank() -> None:
    assert changes({"learner": [ONE, ELSEWHERE]}, {"learner": [ONE, ELSEWHERE]}) == []
    [sentence] = changes({"learner": [ONE, ELSEWHERE]}, {"learner": [ELSEWHERE, ONE]})
    assert "processor A before, B now" in sentence
    [sentence] = changes({"learner": [ONE]}, {"learner": [ONE, ONE]})
    assert "1 process before, 2 processes now" in sentence


def test_threads_of_roles_whose_replicas_agree() -> None:
    assert threads_in({"rollout": [TWO], "reward.x": [ONE, ELSEWHERE], "learner": [ONE, TWO]}) == {
        "rollout": 2,
        "reward.x": 1,
    }


def test_the_actors_of_a_cast_are_known(tiny_cast: Cast) -> None:
    here = {"threads": 1, "gpu": "", "cpu": processor()}
    assert kinds_of(tiny_cast, ["rollout", "learner", "reward.short"]) == {
        role: [here] for role in ("rollout", "learner", "reward.short")
    }


def test_a_change_is_said_once(tiny_cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "say", said.append)
    watched = Processes(tiny_cast, ["rollout", "learner"], before={"rollout": [{**ONE, "cpu": processor()}]})
    now = watched.look()
    assert said == []
    moved = Processes(Moved(tiny_cast), ["rollout", "learner"], before=now)
    moved.look()
    moved.look()
    assert [sentence.split(":")[0] for sentence in said] == [
        f"rollout computes with processor {processor()} before, another now",
    ]


@dataclass(frozen=True)
class Moved:
    """A cast whose rollout actors were started anew on another kind of processor."""

    cast: Cast

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cast, name)

    def handles(self, role: str) -> Sequence[Any]:
        return self.cast.handles(role)

    def place(self, role: str, replica: int = 0) -> Mapping[str, Any]:
        place = self.cast.place(role, replica)
        return {**place, "cpu": "another"} if role == "rollout" else place
