"""Reward actors behind the interface of `AllGoodScorer`: the same numbers as with local models, scored elsewhere.

    with reward_actors(read_rewards(Path("rewards_of_first"))) as scorer:
        scores = scorer.score(prompts, responses)    # as AllGoodScorer.score

The scorer pickles as the names of its actors, so that other processes of the cluster may use it while the block lasts.
With a start policy it also has rollout actors, whose samples give references of prompts that no table knows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from actors.cluster.cast import CastRequest, Part, spawn
from actors.cluster.frozen_role import FrozenRole
from actors.cluster.guard import guarded
from actors.cluster.limits import Limits
from actors.cluster.named_actors import names_of
from actors.cluster.placement import Resources
from actors.cluster.supervision import ActorNames
from actors.generation.seeds import prompt_seed
from actors.reward import RewardSpec
from actors.start_policy import prompt_chunk, rollout_spec
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.fresh_references import FromSamples
from allgood.scorers.rewards_spec import RewardsSpec, StartPolicySpec
from allgood.scorers.scorer import Scored, joined

ROWS_PER_CALL = 512
_PROMPTS_REMEMBERED = 1024  # with their samples, until every property has scored them


@dataclass(frozen=True)
class ActorSettings:
    """How the actors run: resources by property and of the start policy, and how long is waited for them."""

    scorers: Mapping[str, Resources] = field(default_factory=dict)
    start_policy: Resources = field(default_factory=Resources)
    limits: Limits = field(default_factory=lambda: Limits(deadline_s=600.0))
    start_timeout_s: float = 600.0


@contextmanager
def reward_actors(spec: RewardsSpec, settings: ActorSettings = ActorSettings()) -> Iterator[AllGoodScorer]:
    """A scorer whose models are actors on the running Ray cluster; they end with the block.

    Raises:
        ValueError: `settings.scorers` names what is no property.
        PlacementError: The cluster cannot hold them.
        RoleError: An actor did not start in time, or died.
        ModelError, ConfigError: What an actor stands on cannot be loaded.
    """
    if unknown := set(settings.scorers) - set(spec.properties):
        raise ValueError(f"there is no property {sorted(unknown)[0]!r}; there are: {', '.join(spec.properties)}")
    name = f"rewards-{uuid.uuid4().hex[:8]}"
    with spawn(_request(spec, settings), name=name) as cast, guarded(cast):
        yield _scorer(spec, names_of(cast, name), settings.limits)


class ActorScorer:
    """The reward actors of a property; see `scorer.Scorer`. `encoder` is that of its predictor, if it names one."""

    def __init__(self, role: FrozenRole, encoder: str | None) -> None:
        self._role = role
        self._encoder = encoder

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """Rewards of responses, as `scorer.Scorer.score`.

        Raises:
            RoleError: The actors gave no answer, or the scorer failed as a whole.
        """
        starts = range(0, len(prompts), ROWS_PER_CALL)
        parts = [
            (list(prompts[start : start + ROWS_PER_CALL]), list(responses[start : start + ROWS_PER_CALL]))
            for start in starts
        ]
        return joined(self._role.ask_each(lambda actor: actor.scored, parts, phase="score texts"))

    def features(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """See `prompt_features.Features`."""
        [features] = self._role.ask_each(
            lambda actor: actor.prompt_features, [(list(prompts), self._encoder)], phase="features"
        )
        found: NDArray[np.float32] = features
        return found


class ActorSampler:
    """Samples of pi_0 by rollout actors; see `fresh_references.Sample`."""

    def __init__(self, role: FrozenRole, policy: StartPolicySpec) -> None:
        self.__setstate__((role, policy))

    def __getstate__(self) -> tuple[FrozenRole, StartPolicySpec]:
        return self._role, self._policy

    def __setstate__(self, state: tuple[FrozenRole, StartPolicySpec]) -> None:
        self._role, self._policy = state
        self._remembered = lru_cache(_PROMPTS_REMEMBERED)(self._sampled)

    def __call__(self, prompt_id: str, prompt: str) -> tuple[str, ...]:
        """Responses to a prompt, the same each time.

        Raises:
            ModelError: Nothing of the prompt fits.
            RoleError: The actors gave no answer.
        """
        return self._remembered(prompt_id, prompt)

    def _sampled(self, prompt_id: str, prompt: str) -> tuple[str, ...]:
        seed = prompt_seed(self._policy.seed, prompt_id)
        chunk = prompt_chunk(prompt_id, prompt, num_samples=self._policy.num_samples, seed=seed)
        [rollout] = self._role.ask_each(lambda actor: actor.generate, [(chunk,)], phase="generate")
        responses: tuple[str, ...] = rollout.responses
        return responses


def _request(spec: RewardsSpec, settings: ActorSettings) -> CastRequest:
    rewards = {
        name: Part(RewardSpec(name, setting.scorer), settings.scorers.get(name, Resources()))
        for name, setting in spec.properties.items()
    }
    policy = spec.start_policy
    return CastRequest(
        rollout=None if policy is None else Part(rollout_spec(policy, threads=1), settings.start_policy),
        rewards=rewards,
        timeout_s=settings.start_timeout_s,
    )


def _scorer(spec: RewardsSpec, names: ActorNames, limits: Limits) -> AllGoodScorer:
    predictors = {name: setting.reference.predictor for name, setting in spec.properties.items()}
    scorers = {
        name: ActorScorer(FrozenRole(names, f"reward.{name}", limits), None if predictor is None else predictor.encoder)
        for name, predictor in predictors.items()
    }
    samples = {}
    if spec.start_policy is not None:
        sampler = ActorSampler(FrozenRole(names, "rollout", limits), spec.start_policy)
        samples = {name: FromSamples(sampler, scorers[name], each) for name, each in spec.sampled.items()}
    features = {name: scorers[name].features for name, predictor in predictors.items() if predictor is not None}
    return AllGoodScorer(spec, scorers=scorers, samples=samples, features=features)
