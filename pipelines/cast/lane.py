"""A lane: the actors that one arm works with, as coroutine functions.

An arm has rollout and learner actors of its own; reward and reference actors may serve several lanes at once, which is
why everything they keep for an arm stands under the arm's key. A replica answers one call at a time and whoever is free
takes the next; results are put in order by the caller, so who answered does not matter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import ray
from numpy.typing import NDArray

from actors.cluster.gather import gather
from actors.cluster.limits import Limits
from actors.cluster.pool import Actors, Pool
from actors.cluster.recipe import Recipe
from actors.cluster.recovery import Fault, Recovery
from actors.learning.elsewhere import Elsewhere
from actors.learning.group import merge, shard
from actors.learning.specs import ArmSpec, OptimizerSpec, Rloo
from actors.messages import Batch, Chunk, FloatRow, LogProbs, Rollout, Scores, UpdateResult
from allgood.errors import RoleError
from allgood.treatment import Treatment
from pipelines.cast.collect import Crew, Delivery
from pipelines.cast.faults import given_up_line, say_fault
from pipelines.cast.publishing import WeightPublishing
from pipelines.output.progress import say

ReferenceRole = Literal["reference_policy", "rollout"]
SharedRollout = Rollout | ray.ObjectRef  # type: ignore[type-arg]

TEXTS_PER_CALL = 512
PROBE = ("Yes.", "I am not sure about all of it, but here is what I would try first, and what I would ask.")


_UNTRAINED = ArmSpec(optimizer=OptimizerSpec(), algorithm=Rloo(), total_steps=1, seed=0)  # its weights are pi_0's


class Lane:
    """The actors of a cast under one key. Lives inside one event loop.

    `knows_pi_0` is the role that is asked for log pi_0: actors of its own, or rollout actors whose policy has adapters.
    `is_synchronous` says that learners never go on while rollout actors work, so that weights which were lost can be
    published again; else only a checkpoint has them.
    """

    def __init__(
        self,
        cast: Actors,
        *,
        key: str,
        scorers: Sequence[str],
        limits: Limits,
        tell: Callable[[Fault], None] = say_fault,
        knows_pi_0: ReferenceRole = "reference_policy",
        is_synchronous: bool = True,
    ) -> None:
        def pool(role: str, renew: Callable[[], object] | None = None) -> Pool:
            return Pool(cast, role, limits, Recovery(cast, role, limits, tell, renew))

        self._cast = cast
        self._key = key
        self._rollouts = pool("rollout", (lambda: self._publishing.renew()) if is_synchronous else None)
        self._learners = pool("learner")
        self._publishing = WeightPublishing(cast, self._learners, self._rollouts)
        self._references = self._rollouts if knows_pi_0 == "rollout" else pool(knows_pi_0)
        self._rewards = {name: pool(_reward(name)) for name in scorers}
        self._has_given_up: set[str] = set()

    def crew(self) -> Crew:
        """Rollout, reward and reference actors; log pi_0 comes from the last."""
        scorers = {name: self._scorer(name) for name in self._rewards}
        return Crew(self._generate, scorers, self._reference, share=ray.put)

    async def crew_of_reference_policy(self) -> Crew:
        """The crew while the rollout actors hold pi_0 itself.

        Log pi_0 is what they report where their engine's log-probs are exact; else the reference actors are asked.
        """
        is_exact = await self._rollouts.call_first(lambda actor: actor.has_exact_logprobs, phase="ask for its engine")
        return replace(self.crew(), reference=None) if is_exact else self.crew()

    async def has_float32_logprobs(self) -> bool:
        """Whether log-probs of rollout and reference actors are exact in float32, and so comparable by token."""
        answers = await gather(
            pool.call_first(lambda actor: actor.has_float32_logprobs, phase="ask for its precision")
            for pool in (self._rollouts, self._references)
        )
        return all(answers)

    async def treat(self, treatments: Mapping[str, Treatment]) -> None:
        """Tell every replica of each scorer what this lane makes of its rewards, also one that starts anew later."""
        for name, treatment in treatments.items():
            self._cast.change_recipe(_reward(name), partial(Recipe.with_treatment, treatment=treatment))
        await gather(
            self._rewards[name].call_all(lambda actor: actor.set_treatment, treatment, phase="set treatment")
            for name, treatment in treatments.items()
        )

    async def check_scores(self, prompts: Sequence[str], responses: Sequence[str]) -> None:
        """Compare each scorer with plain transformers on these texts; ModelError when they disagree."""
        await gather(
            pool.call_first(lambda actor: actor.score_parity, list(prompts), list(responses), phase="score parity")
            for pool in self._rewards.values()
        )

    async def score_texts(
        self,
        name: str,
        prompts: Sequence[str],
        responses: Sequence[str],
        advance: Callable[[int], None] = lambda num_texts: None,
    ) -> FloatRow:
        """Raw rewards of any texts, [texts] float32; NaN = failed. `advance` is told how many more are scored."""

        async def part(start: int) -> FloatRow:
            end = start + TEXTS_PER_CALL
            rewards: FloatRow = await self._rewards[name].call(
                lambda actor: actor.score_texts,
                list(prompts[start:end]),
                list(responses[start:end]),
                phase="score texts",
            )
            advance(len(rewards))
            return rewards

        parts = await gather(part(start) for start in range(0, len(prompts), TEXTS_PER_CALL))
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)

    async def prompt_features(self, name: str, prompts: Sequence[str], encoder: str | None) -> NDArray[np.float32]:
        """Features of prompts in a property's actors, by `encoder` or its reward model, [prompts, features]."""
        starts = range(0, len(prompts), TEXTS_PER_CALL)
        parts = await gather(
            self._rewards[name].call(
                lambda actor: actor.prompt_features,
                list(prompts[start : start + TEXTS_PER_CALL]),
                encoder,
                phase="features",
            )
            for start in starts
        )
        features: NDArray[np.float32] = np.concatenate(parts)
        return features

    async def start(self, arm: ArmSpec) -> None:
        """A new training from the weights of pi_0, version 0, which the rollout actors then hold too."""
        await self._learners.call_all(lambda actor: actor.start, arm, phase="start")
        await self.publish(0)

    async def load(self, folder: Path, policy_version: int) -> None:
        """Go on from a checkpoint's learner files; the rollout actors then hold the version saved there."""
        await self._learners.call_all(lambda actor: actor.load, str(folder), phase="load")
        await self.publish(policy_version)

    async def limit_passes(self, pass_tokens: int) -> None:
        """Have the learners make passes of at most so many padded tokens until another training."""
        await self._learners.call_all(lambda actor: actor.limit_passes, pass_tokens, phase="limit passes")

    async def hold_reference_policy(self) -> None:
        """Have the rollout actors hold pi_0, also after another arm; without learners they never held anything else."""
        if self._learners.size:
            await self.start(_UNTRAINED)

    async def update(self, batch: Batch) -> UpdateResult:
        """One update by all learners, each on its share of the batch."""
        parts = shard(batch, self._learners.size)
        return merge(await self._learners.call_each(lambda actor: actor.update, parts, phase="update"))

    async def publish(self, policy_version: int) -> None:
        """Every rollout actor holds `policy_version` when this returns, and so does one that starts anew later."""
        await self._deliver(self._publishing.publish, policy_version)

    def announce(self, policy_version: int) -> Delivery:
        """Have the learners publish their version before they take another step; what returns brings it to the
        rollout actors. A broadcast is published only then.
        """
        return partial(self._deliver, self._publishing.announce(), policy_version)

    async def _deliver(self, tell: Callable[[], Awaitable[list[int]]], policy_version: int) -> None:
        held = await tell()
        if set(held) != {policy_version}:
            raise RoleError(f"the rollout actors hold versions {held} after version {policy_version} was published")

    async def save(self, folder: Path) -> None:
        """The learner's checkpoint files."""
        await self._learners.call_all(lambda actor: actor.save, str(folder), phase="save")

    async def save_pretrained(self, folder: Path) -> None:
        """The policy as a model folder."""
        await self._learners.call_all(lambda actor: actor.save_pretrained, str(folder), phase="save the model")

    async def learners_without(self, path: Path) -> list[str]:
        """Learners that do not see a file of this process, by their names in messages."""
        seen = await self._learners.call_all(lambda actor: actor.sees, str(path), phase="look for the run folder")
        return [str(self._cast.who("learner", rank)) for rank, is_seen in enumerate(seen) if not is_seen]

    async def save_elsewhere(self, folder: Elsewhere) -> dict[str, Any]:
        """As `save`, into a folder that learners do not see; what there is to say of its files, by name."""
        return _all_of(await self._learners.call_all(lambda actor: actor.save_elsewhere, folder, phase="save"))

    async def load_elsewhere(self, folder: Elsewhere, policy_version: int) -> None:
        """As `load`, from a folder that learners do not see."""
        await self._learners.call_all(lambda actor: actor.load_elsewhere, folder, phase="load")
        await self.publish(policy_version)

    async def save_pretrained_elsewhere(self, folder: Elsewhere) -> dict[str, Any]:
        """As `save_pretrained`, into a folder that learners do not see; what there is to say of its files, by name."""
        return _all_of(
            await self._learners.call_all(lambda actor: actor.save_pretrained_elsewhere, folder, phase="save the model")
        )

    async def _generate(self, chunk: Chunk) -> Rollout:
        rollout: Rollout = await self._rollouts.call(lambda actor: actor.generate, chunk, phase="generate")
        return rollout

    async def _reference(self, rollout: SharedRollout) -> LogProbs:
        phase = "reference log-probs"
        logprobs: LogProbs
        if self._references is self._rollouts:
            logprobs = await self._rollouts.call(lambda actor: actor.reference_logprobs, rollout, phase=phase)
        else:
            logprobs = await self._references.call(lambda actor: actor.logprobs, rollout, phase=phase)
        return logprobs

    def _scorer(self, name: str) -> Callable[[SharedRollout], Awaitable[Scores]]:
        async def score(rollout: SharedRollout) -> Scores:
            scores: Scores = await self._rewards[name].call(
                lambda actor: actor.score, rollout, self._key, phase="score"
            )
            if scores.num_given_up and name not in self._has_given_up:
                self._has_given_up.add(name)
                say(given_up_line(scores))
            return scores

        return score


def _all_of(written: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What every learner says of the files that it wrote, by name."""
    return {name: entry for files in written for name, entry in files.items()}


def _reward(name: str) -> str:
    """The role of a property's scorers."""
    return f"reward.{name}"
