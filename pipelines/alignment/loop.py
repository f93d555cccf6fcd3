"""Align a policy: the loop. Data are values, roles are awaitable functions; neither Ray nor torch is known here.

Per step, each stage consumes, produces, waits for:
    generate   one chunk -> one rollout              waits for the weight version that the chunk names
    score      one rollout -> scores per property    waits for that rollout alone; together with `reference`
    reference  one rollout -> log pi_0               waits for that rollout alone
    assemble   experience in chunk order -> batch    waits for the slowest chunk of the step
    update     batch -> new weight version           waits for `assemble`
    publish    version -> every rollout actor        unblocks the `generate` of the step that names the version
    validate   a state -> what it is worth           every n steps and at the end, after `publish`
    commit     a state -> a checkpoint on disk       every n steps, at a new best and at the end; a kill loses no more
With staleness n the chunks of step s name version max(0, s - n), never a newer one. Up to n steps are then made while
the learner updates (`ahead.py`), and only an evaluation waits until its version is there.
Retries, deadlines and placement live behind the role functions. What a step computes depends on the plan and the state
only, never on the order in which chunks arrive.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from actors.cluster.gather import unless
from actors.messages import Batch, Chunk, Experience, UpdateResult
from allgood.errors import TrainingError
from pipelines.alignment.ahead import StepsAhead, StoredSteps
from pipelines.cast.collect import Crew, Delivery


@dataclass(frozen=True)
class Best:
    """The best evaluated state so far. `score` is the both-good rate where gold exists, else utility minus gamma KL."""

    step: int
    score: float


@dataclass(frozen=True)
class State:
    """Everything the loop needs to go on, besides what the learner keeps. Steps count finished updates."""

    step: int
    policy_version: int
    kl_coefficient: float  # gamma of the next step
    kl_controller: dict[str, float]
    best: Best | None = None
    stopped: str | None = None  # why the run ended before its last step
    multipliers: Mapping[str, float] = field(default_factory=dict)  # of a Lagrangian objective, for the next step


@dataclass(frozen=True)
class Validation:
    """What the policy of a state is worth on the validation prompts. `kl` is the mean sequence k1, in nats."""

    score: float
    kl: float
    metrics: dict[str, float]
    samples: Sequence[Mapping[str, Any]] = ()  # rows to look at


@dataclass(frozen=True)
class Assembled:
    """A step's batch and what is known of it before the update."""

    batch: Batch
    kl: float  # mean sequence k1 of the kept rows, nats
    num_rows: int
    metrics: dict[str, float]
    seconds: dict[str, float]  # what the roles spent on it, summed over chunks


@dataclass(frozen=True)
class Groups:
    """The prompts of a step by id, in its order: those it learned from, and those that had too few scored samples."""

    trained: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A finished step, for whoever observes. Only `seconds`, wall-clock per phase, may differ between equal runs."""

    state: State
    metrics: dict[str, float]
    seconds: dict[str, float]
    validation: Validation | None
    groups: Groups = Groups()


@dataclass(frozen=True)
class Plan:
    """What the run is: pure functions of the state, and the steps at which something besides an update happens."""

    num_steps: int
    chunks: Callable[[State], Sequence[Chunk]]
    assemble: Callable[[Sequence[Experience], State], Assembled]
    control_kl: Callable[[State, float, int], State]  # state, measured sequence KL, number of responses
    evaluate_every: int
    commit_every: int
    stop_at_kl: float | None = None
    staleness: int = 0  # how many updates the version that generates a step may be behind
    price: Callable[[State, Mapping[str, float]], State] = lambda state, metrics: state  # state, the step's metrics

    def evaluates_at(self, step: int) -> bool:
        """Whether the policy after `step` updates is evaluated."""
        return step % self.evaluate_every == 0 or step == self.num_steps

    def is_over(self, state: State) -> bool:
        """Whether no update follows."""
        return state.step >= self.num_steps or state.stopped is not None

    def commits_at(self, state: State) -> bool:
        """Whether a checkpoint of `state` is kept: every n steps, at a new best, at the end."""
        is_best = state.best is not None and state.best.step == state.step
        return self.is_over(state) or is_best or state.step % self.commit_every == 0


@dataclass(frozen=True)
class Roles:
    """What the loop may ask for, and `stop`, which asks the loop to begin no other update."""

    crew: Crew
    update: Callable[[Batch], Awaitable[UpdateResult]]
    publish: Callable[[int], Delivery]
    validate: Callable[[State], Awaitable[Validation]]
    commit: Callable[[State, StoredSteps], Awaitable[None]]
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def align(
    plan: Plan,
    roles: Roles,
    state: State,
    observe: Callable[[Step], None],
    stored: StoredSteps = MappingProxyType({}),
) -> State:
    """Run from `state`, whose version the rollout actors hold, to the last step.

    Same plan, same state, same experience ahead of it (`stored`), same result, whoever computes. Where `roles.stop` is
    set, the running update is finished and its state committed, with what older versions have made ahead of it.
    """
    committed = state.step
    async with StepsAhead(roles.crew, held=state.policy_version, stored=stored) as ahead:
        delivery: Delivery = _held_already
        while not (plan.is_over(state) or roles.stop.is_set()):
            clock = Clock()
            _begin_steps(plan, state, ahead, delivery)
            experience = await unless(roles.stop, ahead.take(state.step))
            if experience is None:
                break
            clock.lap("experience")
            try:
                assembled = plan.assemble(experience, state)
            except TrainingError:  # such as too many failed scores: what is learned stays, also between checkpoints
                if committed != state.step and not plan.staleness:
                    await roles.commit(state, {})
                raise
            update = await roles.update(assembled.batch)
            clock.lap("update")
            advanced = replace(state, step=state.step + 1, policy_version=update.policy_version)
            state = plan.price(plan.control_kl(advanced, assembled.kl, assembled.num_rows), assembled.metrics)
            delivery = roles.publish(state.policy_version)
            if plan.staleness == 0 or plan.evaluates_at(state.step):
                await ahead.hold(state.policy_version, delivery)
            clock.lap("publish")
            validation = await roles.validate(state) if plan.evaluates_at(state.step) else None
            if validation is not None:
                state = judged(state, validation, stop_at_kl=plan.stop_at_kl)
                clock.lap("validate")
            groups = groups_in(experience, assembled.batch)
            observe(replace(_step(state, assembled, update, clock, validation), groups=groups))
            if plan.commits_at(state):
                await roles.commit(state, {} if state.stopped else await ahead.finished())
                committed = state.step
        if committed != state.step:
            await roles.commit(state, await ahead.finished() if plan.staleness else {})
    return state


def _begin_steps(plan: Plan, state: State, ahead: StepsAhead, deliver: Delivery) -> None:
    """Begin every step that the version of `state` is to generate."""
    for step in range(state.step, min(state.step + plan.staleness, plan.num_steps - 1) + 1):
        if not ahead.has_begun(step):
            ahead.begin(step, plan.chunks(replace(state, step=step)), state.policy_version, deliver)


async def _held_already() -> None:
    """Deliver the version that a run starts with, which the rollout actors hold."""


def judged(state: State, validation: Validation, *, stop_at_kl: float | None) -> State:
    """The state after an evaluation: a new best, and the end where the KL budget is spent."""
    if not math.isnan(validation.score) and (state.best is None or validation.score > state.best.score):
        state = replace(state, best=Best(state.step, validation.score))
    if stop_at_kl is not None and validation.kl >= stop_at_kl:
        state = replace(state, stopped=f"the evaluated KL {validation.kl:.3f} reached stop_at_kl = {stop_at_kl}")
    return state


def groups_in(experience: Sequence[Experience], batch: Batch) -> Groups:
    """Which prompts of a step's experience are in its batch."""
    ids = [prompt_id for chunk in experience for prompt_id in chunk.rollout.chunk.prompt_ids]
    trained = set(batch.groups.tolist())
    return Groups(
        tuple(prompt_id for position, prompt_id in enumerate(ids) if position in trained),
        tuple(prompt_id for position, prompt_id in enumerate(ids) if position not in trained),
    )


def _step(
    state: State, assembled: Assembled, update: UpdateResult, clock: Clock, validation: Validation | None
) -> Step:
    learner = {f"learner.{name}": value for name, value in update.metrics.items() if name != "seconds"}
    seconds = {**assembled.seconds, "learner": update.metrics["seconds"], **clock.seconds}
    return Step(state, {**assembled.metrics, **learner}, seconds, validation)


class Clock:
    """Seconds per phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        """Ascribe the time since the last lap to `phase`."""
        now = time.monotonic()
        self.seconds[phase] = now - self._last
        self._last = now
