"""Pools on real actors of a few methods: calls whose replica is lost are made again, within limits."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import ray

from actors.cluster.limits import Limits
from actors.cluster.pool import Pool
from actors.cluster.recovery import Fault, Loss, Recovery
from actors.cluster.supervision import Who
from actors.faults import ActorLostError, LearnerLostError
from allgood.errors import RoleError
from tests.actors.odd_roles import Odd
from tests.actors.stand_in import StandIn

ROLE = "reward.good"
LIMITS = Limits(deadline_s=60, max_retries=2, max_restarts=4)


def odd() -> Any:
    return ray.remote(Odd).options(num_cpus=0.1).remote()


@dataclass
class Replicas(StandIn):
    """Replicas that start anew when they are lost, as those of a cast."""

    actors: list[Any]
    restarts: list[int] = field(default_factory=list)
    fresh: Callable[[], Any] = odd
    lock: threading.Lock = field(default_factory=threading.Lock)

    def handles(self, role: str) -> Sequence[Any]:
        return self.actors

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        with self.lock:
            if loss is not None and self.actors[replica] is not loss.handle:
                return False
            self.restarts.append(replica)
            ray.kill(self.actors[replica])
            self.actors[replica] = self.fresh()
            return True

    def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor)


@pytest.fixture
def replicas(ray_cluster: None) -> Iterator[Replicas]:
    made = Replicas([odd(), odd()])
    yield made
    made.close()


def pool_of(replicas: Replicas, *, limits: Limits = LIMITS, role: str = ROLE, told: list[Fault] | None = None) -> Pool:
    tell = (lambda fault: None) if told is None else told.append
    return Pool(replicas, role, limits, Recovery(replicas, role, limits, tell))


def kill(actor: Any) -> None:
    os.kill(ray.get(actor.location.remote())["pid"], signal.SIGKILL)


def test_calls_of_a_lost_replica_are_made_again_and_everybody_is_told_once(replicas: Replicas) -> None:
    told: list[Fault] = []

    async def calls() -> list[int]:
        pool = pool_of(replicas, told=told)
        kill(replicas.actors[1])
        return list(
            await asyncio.gather(*(pool.call(lambda actor: actor.echo, value, phase="score") for value in range(6)))
        )

    assert asyncio.run(calls()) == [0, 1, 2, 3, 4, 5]
    assert replicas.restarts == [1]
    [fault] = told
    assert (fault.who, fault.phase, fault.restarted) == (Who(ROLE, 1), "score", True)
    assert "reward.good 1 died in score: " in fault.reason


@pytest.mark.parametrize(("num_calls", "most"), [(8, {2}), (30, {3, 4})])
def test_replicas_have_one_call_ahead_in_a_long_queue_only(replicas: Replicas, num_calls: int, most: set[int]) -> None:
    asked: list[Any] = []
    outstanding: list[int] = []

    def echo(actor: Any) -> Any:
        asked.append(actor)
        return actor.echo

    async def calls() -> list[int]:
        pool, num_answered = pool_of(replicas), 0

        async def call(value: int) -> int:
            nonlocal num_answered
            answer: int = await pool.call(echo, value, phase="generate")
            outstanding.append(len(asked) - num_answered)
            num_answered += 1
            return answer

        return list(await asyncio.gather(*(call(value) for value in range(num_calls))))

    assert asyncio.run(calls()) == list(range(num_calls))
    assert max(outstanding) in most  # 3 where two answers come at once, before the next call is made


def test_both_calls_of_a_replica_that_is_lost_are_made_again(replicas: Replicas) -> None:
    told: list[Fault] = []

    async def calls() -> list[int]:
        pool = pool_of(replicas, told=told)
        waits = [asyncio.ensure_future(pool.call(_nap, 0.2, phase="generate")) for _ in range(20)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        kill(replicas.actors[1])
        return list(await asyncio.gather(*waits))

    assert asyncio.run(calls()) == [None] * 20
    assert replicas.restarts == [1]
    assert [(fault.who, fault.restarted) for fault in told] == [(Who(ROLE, 1), True), (Who(ROLE, 1), False)]


def test_the_deadline_of_a_call_ahead_counts_from_the_end_of_the_one_before(replicas: Replicas) -> None:
    replicas.actors.pop()
    ray.get(replicas.actors[0].echo.remote(0))
    deadline = Limits(deadline_s=2.0)

    async def calls() -> list[int]:
        pool = pool_of(replicas, limits=deadline)
        return list(await asyncio.gather(*(pool.call(_nap, 1.2, phase="generate") for _ in range(7))))

    assert asyncio.run(calls()) == [None] * 7
    assert replicas.restarts == []


def _nap(actor: Any) -> Any:
    return actor.sleep


def test_a_call_goes_on_with_another_replica_while_the_lost_one_starts(replicas: Replicas) -> None:
    answered, restart = threading.Event(), replicas.restart

    def slow(role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        assert answered.wait(30)
        return restart(role, replica, loss)

    async def calls() -> list[int]:
        pool = pool_of(replicas)
        answers = [await pool.call(_echo, 7, phase="score")]  # of the other replica
        answered.set()
        return answers + await asyncio.gather(*(pool.call(_echo, value, phase="score") for value in (8, 9)))

    replicas.restart = slow  # type: ignore[method-assign]
    kill(replicas.actors[0])
    assert asyncio.run(calls()) == [7, 8, 9]


def test_what_all_are_told_reaches_one_that_died(replicas: Replicas) -> None:
    kill(replicas.actors[0])
    assert asyncio.run(pool_of(replicas).call_all(lambda actor: actor.echo, 3, phase="set weights")) == [3, 3]
    assert replicas.restarts == [0]


def test_a_hung_replica_is_ended_before_its_call_is_made_again(replicas: Replicas) -> None:
    hung, deadline = replicas.actors[0], Limits(deadline_s=4.0)
    pid = ray.get(hung.location.remote())["pid"]
    ray.get(replicas.actors[1].location.remote())
    os.kill(pid, signal.SIGSTOP)
    told: list[Fault] = []
    assert asyncio.run(pool_of(replicas, limits=deadline, told=told).call_first(_echo, 3, phase="score")) == 3
    assert replicas.restarts == [0]
    assert "hung in score: no answer within 4 s" in told[0].reason
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(hung.echo.remote(1))


def _echo(actor: Any) -> Any:
    return actor.echo


def test_a_refusal_is_an_answer(replicas: Replicas) -> None:
    with pytest.raises(RoleError, match="needs policy version 7") as refusal:
        asyncio.run(pool_of(replicas).call(lambda actor: actor.refuse, phase="generate"))
    assert not isinstance(refusal.value, ActorLostError)
    assert replicas.restarts == []


def test_a_call_that_ends_every_replica_is_given_up_after_its_retries(replicas: Replicas) -> None:
    with pytest.raises(
        RoleError, match=r"died in score: .*; given up after 3 tries \(placement.max_retries\)"
    ) as refusal:
        asyncio.run(pool_of(replicas).call(lambda actor: actor.die, phase="score"))
    assert not isinstance(refusal.value, ActorLostError)


def test_restarts_of_a_role_are_bounded(replicas: Replicas) -> None:
    async def calls() -> None:
        pool = pool_of(replicas, limits=Limits(60, max_retries=5, max_restarts=1))
        await pool.call_first(_dead, phase="score")

    def _dead(actor: Any) -> Any:
        return actor.die

    with pytest.raises(RoleError, match="reward.good actors were started anew 1 times already"):
        asyncio.run(calls())


def test_a_replica_that_does_not_start_again_says_why(replicas: Replicas) -> None:
    def refuse(role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        raise RoleError("reward.good 0 could not start: no memory")

    replicas.restart = refuse  # type: ignore[method-assign]
    kill(replicas.actors[0])
    kill(replicas.actors[1])
    with pytest.raises(RoleError, match="could not start: no memory"):
        asyncio.run(pool_of(replicas).call(_echo, 1, phase="score"))


def test_a_learners_call_is_made_once(replicas: Replicas) -> None:
    kill(replicas.actors[0])
    with pytest.raises(LearnerLostError, match="learner 0 died in update"):
        asyncio.run(pool_of(replicas, role="learner").call_each(_echo, [1, 2], phase="update"))
    assert replicas.restarts == []
