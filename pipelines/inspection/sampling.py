"""A few samples of pi_0 and their rewards, by the classes that the actors of a run are, in this process.

One model is in memory at a time: each is loaded, asked and dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.messages import FloatRow, Rollout
from actors.rollout import RolloutWorker
from allgood.scorers.loading import load_scorer
from allgood.scorers.spec import ScorerSpec
from pipelines.cast.collect import make_chunks, purpose_seed
from pipelines.cast.request import rollout_spec
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.inspection.rewards import AloneAndTogether


@dataclass(frozen=True)
class Samples:
    """Samples of pi_0. `shown` is the row of the sample that is shown: one that is shorter than its neighbours."""

    rollout: Rollout
    shown: int

    @property
    def prompt(self) -> str:
        """Of the sample that is shown."""
        chunk = self.rollout.chunk
        return chunk.prompts[self.shown // chunk.samples_per_prompt]

    @property
    def response(self) -> str:
        """The sample that is shown."""
        return self.rollout.responses[self.shown]

    @property
    def tokens(self) -> list[int]:
        """Prompt and response of the sample that is shown, as the policy read and wrote them."""
        prompt = self.rollout.prompt_tokens[self.shown // self.rollout.chunk.samples_per_prompt]
        return [*prompt.tolist(), *self.rollout.response_tokens[self.shown].tolist()]


@dataclass(frozen=True)
class Rewards:
    """Rewards of the samples, [prompts, samples], NaN = failed; and of the one that is shown, alone and among them."""

    grid: FloatRow
    shown: AloneAndTogether


def sample_start_policy(config: RunConfig, prompts: Sequence[Prompt], *, samples_per_prompt: int) -> Samples:
    """Sample pi_0 as the rollout actors do.

    Raises:
        ModelError: The policy cannot be used.
    """
    worker = RolloutWorker(rollout_spec(config))
    (chunk,) = make_chunks(
        prompts,
        seed=purpose_seed(config.seed, "inspection"),
        step=0,
        policy_version=0,
        samples_per_prompt=samples_per_prompt,
        prompts_per_chunk=len(prompts),
    )
    rollout = worker.generate(chunk)
    return Samples(rollout, shown=_padded_row(rollout))


def score_samples(spec: ScorerSpec, samples: Samples) -> Rewards:
    """What a scorer gives the samples.

    Raises:
        ModelError: It cannot be used.
    """
    chunk = samples.rollout.chunk
    prompts = [prompt for prompt in chunk.prompts for _ in range(chunk.samples_per_prompt)]
    scorer = load_scorer(spec)
    together = scorer.score(prompts, samples.rollout.responses).rewards
    (alone,) = scorer.score([samples.prompt], [samples.response]).rewards
    shown = AloneAndTogether(float(alone), float(together[samples.shown]))
    return Rewards(together.reshape(len(chunk.prompts), chunk.samples_per_prompt), shown)


def _padded_row(rollout: Rollout) -> int:
    """The shortest answer that says something: what is padded shows whether padding is read."""
    rows = zip(rollout.response_tokens, rollout.responses, strict=True)
    return int(np.argmin([len(tokens) if text else np.inf for tokens, text in rows]))
