"""What happens to an actor comes back as one sentence that names it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from actors.cluster.supervision import Who, ask, ask_blocking
from allgood.errors import AllgoodError, ModelError, RoleError
from tests.actors.odd_roles import Odd, Stillborn, Unborn

WHO = Who("reward.helpful", 2, "10.0.0.7")


@pytest.fixture
def odd(ray_cluster: None) -> Iterator[Any]:
    actor = ray.remote(Odd).options(num_cpus=0.1).remote()
    yield actor
    ray.kill(actor)


def asked(method: Any, *arguments: Any, deadline_s: float = 60.0, phase: str = "score") -> Any:
    return asyncio.run(ask(method, *arguments, who=WHO, phase=phase, deadline_s=deadline_s))


def test_an_answer_is_an_answer(odd: Any) -> None:
    assert asked(odd.echo, 3) == 3
    assert ask_blocking(odd.echo, 4, who=WHO, phase="score", deadline_s=60) == 4
    assert asked(odd.echo, ray.put(5)) == 5


def test_questions_to_one_actor_are_answered_in_order(odd: Any) -> None:
    async def all_of_them() -> list[int]:
        asks = [ask(odd.echo, value, who=WHO, phase="score", deadline_s=60) for value in range(5)]
        return list(await asyncio.gather(*asks))

    assert asyncio.run(all_of_them()) == [0, 1, 2, 3, 4]


def test_a_refusal_comes_back_as_itself(odd: Any) -> None:
    with pytest.raises(RoleError) as refusal:
        asked(odd.refuse)
    assert type(refusal.value) is RoleError
    assert str(refusal.value) == "chunk 3 needs policy version 7, but this worker holds version 6"


def test_a_defect_keeps_its_type_and_names_the_actor(odd: Any) -> None:
    with pytest.raises(KeyError) as defect:
        asked(odd.fail)
    assert not isinstance(defect.value, AllgoodError)
    assert defect.value.__notes__ == ["raised by reward.helpful 2 on 10.0.0.7 in score"]


def test_lack_of_memory_is_said(odd: Any) -> None:
    with pytest.raises(
        RoleError, match=r"reward\.helpful 2 on 10\.0\.0\.7 ran out of memory in score: cannot allocate 3 GB"
    ):
        asked(odd.exhaust)
    with pytest.raises(RoleError, match=r"ran out of memory in score: .* tried to allocate 3 GB; use smaller batches"):
        asked(odd.exhaust_tensors)


@pytest.mark.parametrize(
    "waiting", [ask_blocking, lambda *a, **k: asyncio.run(ask(*a, **k))], ids=["blocking", "async"]
)
def test_a_hang_is_named_at_its_deadline(odd: Any, waiting: Callable[..., Any]) -> None:
    asked(odd.echo, 0)  # so that starting is not part of the time
    started = time.monotonic()
    with pytest.raises(RoleError, match=r"reward\.helpful 2 on 10\.0\.0\.7 hung in score: no answer within 0\.2 s"):
        waiting(odd.sleep, 3.0, who=WHO, phase="score", deadline_s=0.2)
    assert time.monotonic() - started < 2


def test_a_death_is_named_in_the_call_and_after_it(odd: Any) -> None:
    for method in (odd.die, odd.fail):
        with pytest.raises(RoleError) as death:
            asked(method)
        # one sentence of Ray's, not its paragraph of what may have killed a process
        assert str(death.value) == (
            "reward.helpful 2 on 10.0.0.7 died in score: "
            "The actor is dead because its worker process has died; see its log"
        )


def test_an_actor_that_was_killed_on_purpose_says_so(ray_cluster: None) -> None:
    actor = ray.remote(Odd).options(num_cpus=0.1).remote()
    ray.kill(actor)
    with pytest.raises(RoleError, match=r"died in score: The actor .*killed by `ray\.kill`"):
        asked(actor.echo, 1)


def test_a_refusing_constructor_gives_its_own_error(ray_cluster: None) -> None:
    actor = ray.remote(Unborn).options(num_cpus=0.1).remote()
    with pytest.raises(ModelError) as refusal:
        asked(actor.echo, 1, phase="start")
    assert str(refusal.value) == "the model folder '/nowhere' has no weights; write it with save_pretrained"


def test_a_defect_in_a_constructor_is_named(ray_cluster: None) -> None:
    actor = ray.remote(Stillborn).options(num_cpus=0.1).remote()
    with pytest.raises(
        RoleError, match=r"reward\.helpful 2 on 10\.0\.0\.7 could not start: .*a defect in a constructor"
    ):
        asked(actor.echo, 1, phase="start")


def test_who_without_a_node_is_role_and_replica() -> None:
    assert str(Who("learner")) == "learner 0"
