"""Several arms on kept actors: the same world, start policy, reward models and references under different objectives.

A *lane* is one set of rollout and learner actors; reward and reference actors serve all lanes. Each lane takes the next
arm when it is free. An arm's test samples are drawn while its policy is still in the lane's rollout actors.
"""

from __future__ import annotations

import asyncio
import queue
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from actors.cluster.cast import spawn
from pipelines.alignment.align import run_align
from pipelines.cast.actors import Actors, SharedActors
from pipelines.cast.collect import Crew, collect_all
from pipelines.cast.lane import Lane
from pipelines.cast.request import align_request, lane_request, limits_of, reference_role
from pipelines.cast.threads import with_run_threads
from pipelines.config.properties import IdentityTransform, LogSigmoidTransform, ModelProperty
from pipelines.config.rl import FormulaObjective, WeightedSumObjective
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.evaluation.measure import PolicySamples
from pipelines.evaluation.samples import evaluation_chunks, policy_samples
from pipelines.output.progress import say, track
from pipelines.run.termination import Terminated


@dataclass(frozen=True)
class Arm:
    """One alignment of a comparison."""

    name: str
    objective: str
    config: RunConfig


@dataclass(frozen=True)
class ArmRun:
    """What an arm left: its summary, and samples of its last policy on the test prompts."""

    arm: Arm
    summary: Mapping[str, Any]
    samples: PolicySamples


def raw_sum(config: RunConfig, *, weights: Mapping[str, float] | None = None) -> RunConfig:
    """`config` with the (weighted) sum of rewards. Centring does not move the optimum, so the references stay."""
    return _with(config, WeightedSumObjective(weights=dict(weights or {})), IdentityTransform())


def lsc_sum(config: RunConfig) -> RunConfig:
    """`config` with log P(all good): the sum of log-sigmoids of centred rewards, the paper's objective."""
    return _with(config, FormulaObjective(), LogSigmoidTransform())


def _with(
    config: RunConfig,
    objective: FormulaObjective | WeightedSumObjective,
    transform: IdentityTransform | LogSigmoidTransform,
) -> RunConfig:
    properties = {
        name: setting.model_copy(update={"transform": transform}) if isinstance(setting, ModelProperty) else setting
        for name, setting in config.properties.items()
    }
    return config.model_copy(update={"objective": objective, "properties": properties})


def arm_name(label: str, coefficient: float) -> str:
    """Of an arm's folder."""
    return f"{re.sub(r'[^A-Za-z0-9.]+', '_', label).strip('_')}_{coefficient:.4g}"


def arm_of(config: RunConfig, label: str, coefficient: float) -> Arm:
    """The objective of `config` at one KL coefficient, as an arm of the run that `config` describes."""
    name = arm_name(label, coefficient)
    update = {
        "name": name,
        "output_dir": config.folder / "arms",
        "base": config.base_folder,
        "kl": config.kl.model_copy(update={"coefficient": coefficient}),
        "tracking": config.tracking.model_copy(update={"group": config.tracking.group or config.name}),
        "comparison": None,
    }
    return Arm(name, label, config.model_copy(update=update))


@contextmanager
def kept_actors(config: RunConfig, num_lanes: int) -> Iterator[list[Actors]]:
    """`num_lanes` lanes that share reward and reference actors, for as long as the block runs."""
    config = with_run_threads(config, num_lanes=num_lanes)
    with ExitStack() as stack:
        first = stack.enter_context(spawn(align_request(config), tell=say))
        others = [stack.enter_context(spawn(lane_request(config), tell=say)) for _ in range(num_lanes - 1)]
        yield [first, *(SharedActors(own=other, shared=first) for other in others)]


def run_arms(arms: Sequence[Arm], lanes: Sequence[Actors], prompts: Sequence[Prompt]) -> list[ArmRun]:
    """Run every arm, as many at a time as there are lanes; results in the order of `arms`."""
    free: queue.SimpleQueue[Actors] = queue.SimpleQueue()
    for lane in lanes:
        free.put(lane)

    def run(arm: Arm) -> ArmRun:
        lane = free.get()
        try:
            summary = run_align(arm.config, lane, overwrite=True)
            samples = sample_policy(arm.config, lane, prompts, policy_version=int(summary["policy_version"]))
        finally:
            free.put(lane)
        say(f"{arm.name}: {summary['seconds']:.0f} s, KL {summary['kl']:.2f} nats on validation prompts")
        return ArmRun(arm, summary, samples)

    with ThreadPoolExecutor(len(lanes)) as pool:
        try:
            return list(pool.map(run, arms))
        except (KeyboardInterrupt, Terminated):
            # The pool waits for the arms that run; without their actors these end at once.
            for lane in lanes:
                lane.close()
            raise


def sample_policy(
    config: RunConfig, actors: Actors, prompts: Sequence[Prompt], *, policy_version: int, is_reference: bool = False
) -> PolicySamples:
    """Samples of the policy that the rollout actors hold, with gold and the KL to the start policy.

    `is_reference` says that they hold the start policy itself: its KL is 0, and its seeds differ from those of the
    aligned policies, because a win rate compares independent samples.
    """
    return asyncio.run(
        _sample_policy(config, actors, prompts, policy_version=policy_version, is_reference=is_reference)
    )


async def _sample_policy(
    config: RunConfig, actors: Actors, prompts: Sequence[Prompt], *, policy_version: int, is_reference: bool
) -> PolicySamples:
    knows_pi_0 = reference_role(config)
    lane = Lane(actors, key="evaluation", scorers=(), limits=limits_of(config), knows_pi_0=knows_pi_0)
    if is_reference:
        await lane.hold_reference_policy()
    crew: Crew = await lane.crew_of_reference_policy() if is_reference else lane.crew()
    chunks = evaluation_chunks(config, prompts, policy_version=policy_version, is_reference=is_reference)
    with track(f"sampling {'the start policy' if is_reference else config.name} on test prompts", len(prompts)) as bar:
        experience = await collect_all(chunks, crew, bar.advance)
    return policy_samples(config, prompts, experience)
