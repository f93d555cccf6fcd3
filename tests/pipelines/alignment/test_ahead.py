"""Steps made ahead of the learner, on local coroutine functions: which version makes what, in which order, how much."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from actors.messages import Batch, Chunk, Experience, LogProbs, Rollout, Scores, UpdateResult
from allgood.errors import RoleError
from allgood.views import PropertyView
from pipelines.alignment.ahead import StepsAhead, StoredSteps
from pipelines.alignment.loop import Assembled, Plan, Roles, State, Step, Validation, align
from pipelines.cast.collect import Crew, Delivery
from tests.pipelines.alignment.plain_batch import plain_batch

START = State(step=0, policy_version=0, kl_coefficient=0.1, kl_controller={})
CHUNKS = 3


def make_chunks(state: State) -> list[Chunk]:
    return [
        Chunk(state.step, index, 100 * state.step + index, state.policy_version, (f"p{index}",), ("text",), 2)
        for index in range(CHUNKS)
    ]


def assemble(experience: Sequence[Experience], state: State) -> Assembled:
    batch = plain_batch(experience, state, policy_version=experience[0].rollout.chunk.policy_version)
    return Assembled(batch, kl=0.0, num_rows=len(batch.logprobs), metrics={}, seconds={})


def plan(num_steps: int, staleness: int, *, evaluate_every: int = 1000, commit_every: int = 1000) -> Plan:
    return Plan(
        num_steps=num_steps,
        chunks=make_chunks,
        assemble=assemble,
        control_kl=lambda state, kl, rows: replace(state, kl_coefficient=state.kl_coefficient * 1.01),
        evaluate_every=evaluate_every,
        commit_every=commit_every,
        staleness=staleness,
    )


@dataclass
class Actors:
    """A policy that is one number, `weights[version]`; what is generated and learned depends on it."""

    weights: list[float] = field(default_factory=lambda: [0.5])
    first_version: int = 0
    unit_s: float = 0.001
    held: int = 0
    generating: int = 0
    most_generated: int = 0  # rollouts that were begun and not learned from yet
    num_begun: int = 0
    overlapped: int = 0  # updates during which something was generated
    events: list[tuple[str, int]] = field(default_factory=list)
    commits: dict[int, tuple[State, StoredSteps]] = field(default_factory=dict)

    def weight(self, version: int) -> float:
        return self.weights[version - self.first_version]

    @property
    def newest(self) -> int:
        return self.first_version + len(self.weights) - 1

    async def generate(self, chunk: Chunk) -> Rollout:
        assert chunk.policy_version == self.held
        self.events.append(("generate", chunk.step))
        self.generating += 1
        self.num_begun += 1
        self.most_generated = max(self.most_generated, self.num_begun)
        await asyncio.sleep(self.unit_s * ((chunk.seed * 7) % 3))  # the last is not always the slowest
        self.generating -= 1
        assert chunk.policy_version == self.held  # nobody got another version meanwhile
        row = np.float32([self.weight(chunk.policy_version) + chunk.seed])
        return Rollout(
            chunk, (np.int32([5]),), (np.int32([1]),) * 2, (row,) * 2, (row,) * 2, ("a", "b"), ("eos",) * 2, 0, 0.0
        )

    async def score(self, rollout: Rollout) -> Scores:
        values = np.concatenate(rollout.logprobs)
        return Scores("good", PropertyView(values, values, values, values), 0, 0.0)

    async def reference(self, rollout: Rollout) -> LogProbs:
        return LogProbs(rollout.logprobs, 0.0)

    async def update(self, batch: Batch) -> UpdateResult:
        self.events.append(("update", batch.step))
        before, is_overlapped = len(self.events), self.generating > 0
        await asyncio.sleep(2 * self.unit_s)
        self.overlapped += is_overlapped or any(name == "generate" for name, _ in self.events[before:])
        self.num_begun -= CHUNKS
        self.weights.append(0.9 * self.weights[-1] + 0.01 * float(batch.utilities.sum()) + 0.1 * batch.kl_coefficient)
        return UpdateResult(self.newest, {"seconds": 0.0})

    def publish(self, version: int) -> Delivery:
        assert version == self.newest

        async def deliver() -> None:
            assert self.generating == 0
            self.events.append(("deliver", version))
            self.held = version

        return deliver

    async def validate(self, state: State) -> Validation:
        assert self.held == state.policy_version == self.newest
        assert self.generating == 0
        self.events.append(("validate", state.step))
        return Validation(self.weights[-1], 0.0, {})

    async def commit(self, state: State, ahead: StoredSteps) -> None:
        self.commits[state.step] = state, ahead

    def roles(self) -> Roles:
        crew = Crew(self.generate, {"good": self.score}, self.reference)
        return Roles(crew, self.update, self.publish, self.validate, self.commit)


def run(plan: Plan, actors: Actors, state: State = START, stored: StoredSteps | None = None) -> list[Step]:
    steps: list[Step] = []
    asyncio.run(align(plan, actors.roles(), state, steps.append, stored or {}))
    return steps


@pytest.mark.parametrize("staleness", [0, 1, 2, 3])
def test_step_s_is_generated_by_version_s_minus_n_and_not_by_a_newer_one(staleness: int) -> None:
    actors, batches = Actors(), list[Batch]()
    roles = actors.roles()

    async def update(batch: Batch) -> UpdateResult:
        batches.append(batch)
        return await actors.update(batch)

    asyncio.run(align(plan(9, staleness), replace(roles, update=update), START, lambda step: None))
    assert [batch.step for batch in batches] == list(range(9))
    assert [batch.policy_version for batch in batches] == [max(0, step - staleness) for step in range(9)]
    assert [step for name, step in actors.events if name == "generate"] == [s for s in range(9) for _ in range(CHUNKS)]


def test_the_next_step_is_generated_during_an_update_only_with_staleness() -> None:
    counts = []
    for staleness in (0, 1, 2):
        actors = Actors()
        run(plan(10, staleness), actors)
        counts.append(actors.overlapped)
    assert counts[0] == 0
    assert counts[1] == 8  # all but the last, and the first: steps 0 and 1 are generated side by side
    assert counts[2] > 0


@pytest.mark.parametrize("staleness", [1, 2])
def test_an_evaluation_sees_its_own_version_after_all_that_older_ones_generate(staleness: int) -> None:
    actors = Actors()
    steps = run(plan(7, staleness, evaluate_every=3), actors)
    assert [step.state.step for step in steps if step.validation] == [3, 6, 7]
    place = actors.events.index(("validate", 3))
    generated = {step for name, step in actors.events[:place] if name == "generate"}
    assert generated == set(range(3 + staleness))
    assert actors.events[place - 1] == ("deliver", 3)


@pytest.mark.parametrize("staleness", [0, 1, 2])
@pytest.mark.parametrize("evaluate_every", [2, 1000])
def test_a_run_that_goes_on_from_any_checkpoint_ends_as_the_whole_one(staleness: int, evaluate_every: int) -> None:
    whole = Actors()
    given = plan(8, staleness, evaluate_every=evaluate_every, commit_every=1)
    run(given, whole)
    for step in range(1, 8):
        state, stored = whole.commits[step]
        assert sorted(stored) == list(range(step, min(step + staleness, 8)))
        again = Actors(weights=[whole.weights[step]], first_version=step, held=step)
        rest = run(given, again, state, stored)
        assert again.weights == whole.weights[step:]
        assert [one.state.step for one in rest] == list(range(step + 1, 9))


@pytest.mark.parametrize("staleness", [1, 3])
def test_over_500_steps_never_more_than_the_steps_allowed_ahead_are_in_memory(staleness: int) -> None:
    actors, most_tasks = Actors(unit_s=0.0), 0

    def observe(step: Step) -> None:
        nonlocal most_tasks
        most_tasks = max(most_tasks, len(asyncio.all_tasks()))

    asyncio.run(align(plan(500, staleness), actors.roles(), START, observe))
    assert actors.most_generated == (staleness + 1) * CHUNKS
    assert most_tasks <= (staleness + 1) * (CHUNKS * 2 + 2) + 2  # per step: its line, its sum, and two a chunk


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_an_error_in_generation_scoring_or_delivery_ends_the_run_as_itself(staleness: int) -> None:
    async def fail(*_: object) -> None:
        raise RoleError("gone")

    for name in ("generate", "score", "deliver"):
        actors = Actors()
        roles = actors.roles()

        async def failing_score(rollout: Rollout, actors: Actors = actors) -> Scores:
            if rollout.chunk.step == 2:
                await fail()
            return await actors.score(rollout)

        async def failing_generate(chunk: Chunk, actors: Actors = actors) -> Rollout:
            if chunk.step == 2:
                await fail()
            return await actors.generate(chunk)

        if name == "generate":
            roles = replace(roles, crew=replace(roles.crew, generate=failing_generate))
        elif name == "score":
            roles = replace(roles, crew=replace(roles.crew, score={"good": failing_score}))
        else:
            roles = replace(roles, publish=lambda version: fail)
        with pytest.raises(RoleError, match="gone"):
            asyncio.run(align(plan(6, staleness, evaluate_every=2), roles, START, lambda step: None))
        assert len(actors.weights) <= 3  # step 2 was never learned from


def test_leaving_cancels_what_is_still_being_made() -> None:
    ended: list[str] = []

    async def generate(chunk: Chunk) -> Rollout:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(chunk.prompts[0])
        raise AssertionError("cancelled before")

    async def nothing() -> None:
        return None

    async def leave() -> int:
        actors = Actors()
        crew = Crew(generate, {"good": actors.score}, actors.reference)
        async with StepsAhead(crew, held=0, stored={}) as ahead:
            ahead.begin(0, make_chunks(START), 0, nothing)
            ahead.begin(1, make_chunks(replace(START, step=1)), 1, nothing)  # waits for the chunks of step 0
            await asyncio.sleep(0.01)
        return len(asyncio.all_tasks())

    assert asyncio.run(leave()) == 1  # this one
    assert ended == ["text"] * CHUNKS
