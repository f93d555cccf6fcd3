"""The loop on local coroutine functions: order, resumption, best, early stop. No Ray, no models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from actors.cluster.gather import gather
from actors.messages import Batch, Chunk, Experience, LogProbs, Rollout, Scores, UpdateResult
from allgood.errors import TrainingError
from allgood.views import PropertyView
from pipelines.alignment.ahead import StoredSteps
from pipelines.alignment.loop import Assembled, Best, Groups, Plan, Roles, State, Step, Validation, align, judged
from pipelines.cast.collect import Crew, Delivery
from tests.pipelines.alignment.plain_batch import plain_batch

START = State(step=0, policy_version=0, kl_coefficient=0.1, kl_controller={})


def make_chunk(state: State, index: int) -> Chunk:
    return Chunk(state.step, index, 1000 * state.step + index, state.policy_version, (f"p{index}",), ("text",), 2)


def make_rollout(chunk: Chunk) -> Rollout:
    rows = (np.float32([chunk.seed]), np.float32([chunk.seed]))
    tokens = (np.int32([1]), np.int32([2]))
    return Rollout(chunk, (np.int32([5]),), tokens, rows, rows, ("a", "b"), ("eos", "eos"), 0, 0.0)


@dataclass
class FakeRoles:
    """Local roles. Later chunks answer first, so that only the order of chunks can give a stable result."""

    num_chunks: int = 3
    weight: float = 0.0
    version: int = 0
    published: list[int] = field(default_factory=list)
    commits: list[State] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    scores: tuple[float, ...] = (1.0,)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, chunk: Chunk) -> Rollout:
        assert chunk.policy_version == self.version == ([0, *self.published][-1])
        await asyncio.sleep(0.002 * (self.num_chunks - chunk.index))
        return make_rollout(chunk)

    async def score(self, rollout: Rollout) -> Scores:
        values = np.float32([rollout.chunk.seed, rollout.chunk.seed])
        return Scores("good", PropertyView(values, values, values, values), 0, 0.0)

    async def reference(self, rollout: Rollout) -> LogProbs:
        return LogProbs(rollout.logprobs, 0.0)

    async def update(self, batch: Batch) -> UpdateResult:
        self.batches.append(batch)
        self.version += 1
        self.weight = 0.9 * self.weight + float(batch.utilities @ np.arange(1, len(batch.utilities) + 1))
        return UpdateResult(self.version, {"loss": self.weight, "seconds": 0.0})

    def publish(self, version: int) -> Delivery:
        async def deliver() -> None:
            self.published.append(version)

        return deliver

    async def validate(self, state: State) -> Validation:
        score = self.scores[state.step % len(self.scores)]
        return Validation(score, kl=float(state.step), metrics={})

    async def commit(self, state: State, ahead: StoredSteps) -> None:
        self.commits.append(state)
        self.ahead = ahead

    def roles(self) -> Roles:
        crew = Crew(self.generate, {"good": self.score}, self.reference)
        return Roles(crew, self.update, self.publish, self.validate, self.commit, self.stop)


def assemble(experience: Sequence[Experience], state: State) -> Assembled:
    batch = plain_batch(experience, state, policy_version=state.policy_version)
    kl = float(batch.utilities.mean())
    return Assembled(batch, kl=kl, num_rows=len(batch.logprobs), metrics={}, seconds={})


def plan(
    num_steps: int = 5, *, evaluate_every: int = 100, commit_every: int = 100, stop_at_kl: float | None = None
) -> Plan:
    return Plan(
        num_steps=num_steps,
        chunks=lambda state: [make_chunk(state, index) for index in range(3)],
        assemble=assemble,
        control_kl=lambda state, kl, rows: replace(state, kl_coefficient=state.kl_coefficient * (1 + 1e-4 * kl * rows)),
        evaluate_every=evaluate_every,
        commit_every=commit_every,
        stop_at_kl=stop_at_kl,
    )


def run(plan: Plan, fake: FakeRoles, state: State = START) -> tuple[State, list[Step]]:
    steps: list[Step] = []
    return asyncio.run(align(plan, fake.roles(), state, steps.append)), steps


def test_a_batch_is_in_chunk_order_although_later_chunks_finish_first() -> None:
    fake = FakeRoles()
    run(plan(num_steps=2), fake)
    assert fake.batches[0].utilities.tolist() == [0, 0, 1, 1, 2, 2]
    assert fake.batches[1].utilities.tolist() == [1000, 1000, 1001, 1001, 1002, 1002]


def test_every_step_publishes_its_version_before_the_next_generates() -> None:
    fake = FakeRoles()
    state, steps = run(plan(num_steps=3), fake)
    assert fake.published == [1, 2, 3]  # `generate` asserts that it is asked for the version last published
    assert state.policy_version == 3
    assert [step.state.step for step in steps] == [1, 2, 3]


def test_a_run_continued_from_a_committed_state_ends_like_the_uninterrupted_one() -> None:
    whole = FakeRoles()
    end, _ = run(plan(num_steps=5), whole)
    first = FakeRoles()
    middle, _ = run(plan(num_steps=2), first)
    second = FakeRoles(weight=first.weight, version=first.version, published=[first.version])
    resumed, _ = run(plan(num_steps=5), second, middle)
    assert second.weight == whole.weight
    assert resumed.kl_coefficient == end.kl_coefficient
    assert [batch.step for batch in second.batches] == [2, 3, 4]


def test_the_first_of_equal_scores_is_best_and_is_committed_at_once() -> None:
    fake = FakeRoles(scores=(0.0, 0.2, 0.7, 0.7, 0.1))
    state, _ = run(plan(num_steps=5, evaluate_every=1, commit_every=4), fake)
    assert state.best == Best(step=2, score=0.7)
    assert [committed.step for committed in fake.commits] == [1, 2, 4, 5]  # best, best, every 4, the end


def test_the_last_step_is_evaluated_and_committed() -> None:
    fake = FakeRoles()
    _, steps = run(plan(num_steps=3, evaluate_every=2), fake)
    assert [step.validation is not None for step in steps] == [False, True, True]
    assert fake.commits[-1].step == 3


def test_the_run_ends_when_the_evaluated_kl_reaches_its_budget() -> None:
    fake = FakeRoles()
    state, _ = run(plan(num_steps=9, evaluate_every=2, stop_at_kl=3.5), fake)  # validate says KL = step
    assert state.step == 4
    assert state.stopped is not None
    assert fake.commits[-1] == state


def test_a_stopped_run_does_not_go_on_when_resumed() -> None:
    state = replace(START, step=2, stopped="enough")
    assert run(plan(num_steps=9), FakeRoles(), state)[0] == state


def test_a_score_that_is_not_a_number_is_never_best() -> None:
    assert judged(START, Validation(float("nan"), 0.0, {}), stop_at_kl=None).best is None


def test_a_step_says_which_prompts_it_learned_from_and_which_were_dropped() -> None:
    def without_the_second(experience: Sequence[Experience], state: State) -> Assembled:
        assembled = assemble(experience, state)
        kept = np.int64([0, 0, 2, 2])  # of three prompts with two samples each
        return replace(assembled, batch=replace(assembled.batch, groups=kept))

    _, steps = run(replace(plan(num_steps=2), assemble=without_the_second), FakeRoles())
    assert [step.groups for step in steps] == [Groups(("p0", "p2"), ("p1",))] * 2


def test_wall_clock_is_kept_apart_from_metrics() -> None:
    _, steps = run(plan(num_steps=1), FakeRoles())
    assert steps[0].metrics == {"learner.loss": steps[0].metrics["learner.loss"]}
    assert {"experience", "update", "publish", "learner"} <= set(steps[0].seconds)


def test_gather_raises_the_error_itself_and_cancels_the_others() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")

    async def broken() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def both() -> None:
        await gather([slow(), broken()])

    with pytest.raises(ValueError, match=r"^no$"):
        asyncio.run(both())
    assert ended == ["cancelled"]


@dataclass
class StoppedWhen(FakeRoles):
    """Roles that are asked to stop while they do `moment` of step 3 (counted from 0)."""

    moment: str = "update"

    async def generate(self, chunk: Chunk) -> Rollout:
        if self.moment == "generate" and chunk.step == 3:
            self.stop.set()
            await asyncio.sleep(60.0)
        return await super().generate(chunk)

    async def update(self, batch: Batch) -> UpdateResult:
        if self.moment == "update" and batch.step == 3:
            self.stop.set()
        return await super().update(batch)


@pytest.mark.parametrize(("moment", "committed"), [("generate", [2, 3]), ("update", [2, 4])])
def test_a_stop_finishes_the_running_update_and_commits_it_and_going_on_gives_the_same(
    moment: str, committed: list[int]
) -> None:
    whole = FakeRoles()
    run(plan(), whole)
    fake = StoppedWhen(moment=moment)
    state, _ = run(plan(commit_every=2), fake)
    assert [commit.step for commit in fake.commits] == committed
    assert state == fake.commits[-1]
    resumed = FakeRoles(weight=fake.weight, version=fake.version, published=fake.published)
    run(plan(), resumed, state)
    assert resumed.weight == whole.weight


def test_what_was_learned_before_a_step_that_is_refused_is_committed() -> None:
    def refuse_the_fourth(experience: Sequence[Experience], state: State) -> Assembled:
        if state.step == 3:
            raise TrainingError("step 3: all scores failed")
        return assemble(experience, state)

    fake = FakeRoles()
    with pytest.raises(TrainingError, match="all scores failed"):
        run(replace(plan(num_steps=5), assemble=refuse_the_fourth), fake)
    assert [state.step for state in fake.commits] == [3]
    again, untouched = replace(fake, stop=asyncio.Event()), FakeRoles()
    continued, _ = run(plan(num_steps=5), again, fake.commits[-1])  # with a scorer that answers again
    assert continued == run(plan(num_steps=5), untouched)[0]
    assert again.weight == untouched.weight
