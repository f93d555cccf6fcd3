"""What travels between the roles: frozen values, each carrying the weight version that made it.

Rows of a chunk are prompt-major: row `p * samples_per_prompt + j` is sample j of prompt p. Lengths differ by row, so
per-token values travel as one numpy array per row. Log-probabilities are natural logs at temperature 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actors.packing import PacksRows
from allgood.views import PropertyView

FinishReason = Literal["eos", "stop", "length"]
FloatRow = NDArray[np.float32]
TokenRow = NDArray[np.int32]


@dataclass(frozen=True)
class Chunk:
    r"""The unit of work and of determinism: fixed prompts x samples with their own seed.

    `seed` derives from (run seed, step, index), so that any worker that computes the chunk returns the same rollout.
    `policy_version` is the weight version that must generate it. `prompts` are canonical texts ending in "Assistant:".

    The second chunk of step 4: two prompts, two samples of each, so four rows.

    >>> tea, rain = "\n\nHuman: Tea?\n\nAssistant:", "\n\nHuman: Rain?\n\nAssistant:"
    >>> chunk = Chunk(
    ...     step=4,
    ...     index=1,
    ...     seed=71,
    ...     policy_version=4,
    ...     prompt_ids=("tea", "rain"),
    ...     prompts=(tea, rain),
    ...     samples_per_prompt=2,
    ... )
    >>> [chunk.prompt_ids[row // chunk.samples_per_prompt] for row in range(4)]
    ['tea', 'tea', 'rain', 'rain']
    """

    step: int
    index: int
    seed: int
    policy_version: int
    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    samples_per_prompt: int


@dataclass(frozen=True)
class Rollout(PacksRows):
    """Responses to a chunk. `response_tokens` include EOS where it was sampled; `responses` are trimmed texts.

    One prompt with two samples: the first ends with EOS (token 2), the second is cut after three tokens.

    >>> rollout = Rollout(
    ...     chunk=Chunk(0, 0, 71, 0, ("tea",), ("... Assistant:",), samples_per_prompt=2),
    ...     prompt_tokens=(np.int32([1, 40, 41]),),
    ...     response_tokens=(np.int32([50, 2]), np.int32([50, 51, 52])),
    ...     logprobs=(np.float32([-0.7, -0.1]), np.float32([-0.7, -2.3, -1.1])),
    ...     entropies=(np.float32([0.9, 0.3]), np.float32([0.9, 2.0, 1.4])),
    ...     responses=("Yes", "Yes, with"),
    ...     finish_reasons=("eos", "length"),
    ...     num_prompts_cut=0,
    ...     seconds=0.2,
    ... )
    >>> float(rollout.logprobs[0].sum())  # log-probability of the first response
    -0.8...
    """

    chunk: Chunk
    prompt_tokens: tuple[TokenRow, ...]  # one per prompt
    response_tokens: tuple[TokenRow, ...]  # one per row
    logprobs: tuple[FloatRow, ...]  # log pi of each response token, by the behaviour policy
    entropies: tuple[FloatRow, ...]  # entropy of the distribution each token was drawn from, nats
    responses: tuple[str, ...]
    finish_reasons: tuple[FinishReason, ...]
    num_prompts_cut: int
    seconds: float


@dataclass(frozen=True)
class Retry:
    """Work that an actor did again by itself: why, and how many seconds that took.

    >>> Retry("reward function 'rules:short' failed on 2 responses: TimeoutError()", 0.5).seconds
    0.5
    """

    reason: str
    seconds: float


@dataclass(frozen=True)
class Scores:
    """One property's view of a rollout, [rows].

    `reasons` say by row why there is no reward, as far as known; `num_given_up` of them are rows on which the scorer
    itself failed, whatever was tried.

    A reward of 3 where a good answer to the prompt has 1: z = 2, and u = log sigmoid(2) = log P(good). The second
    response could not be scored, which is NaN and never 0.

    >>> view = PropertyView(
    ...     rewards=np.float32([3.0, np.nan]),
    ...     references=np.float32([1.0, np.nan]),
    ...     margins=np.float32([2.0, np.nan]),
    ...     utilities=np.float32([-0.1269, np.nan]),
    ... )
    >>> scores = Scores(property="helpful", view=view, num_prompts_cut=0, seconds=0.1)
    >>> scores.view.p_good.round(2)
    array([0.88,  nan])
    """

    property: str
    view: PropertyView
    num_prompts_cut: int
    seconds: float
    reasons: Mapping[int, str] = field(default_factory=dict)
    num_given_up: int = 0
    retries: tuple[Retry, ...] = ()


@dataclass(frozen=True)
class LogProbs(PacksRows):
    """log pi_0 of every response token, by the reference policy.

    The first response of the rollout above; its sequence k1 is log pi - log pi_0, in nats.

    >>> reference = LogProbs(rows=(np.float32([-1.0, -0.2]),), seconds=0.05)
    >>> round(float(np.float32([-0.7, -0.1]).sum() - reference.rows[0].sum()), 3)
    0.4
    """

    rows: tuple[FloatRow, ...]
    seconds: float
    retries: tuple[Retry, ...] = ()


@dataclass(frozen=True)
class Experience:
    """A chunk that has been generated, scored by every property and compared with the reference policy.

    One prompt, one response.

    >>> row, number = np.float32([-0.7]), np.float32([1.0])
    >>> chunk = Chunk(0, 0, 71, 0, ("tea",), ("... Assistant:",), samples_per_prompt=1)
    >>> tokens = (np.int32([50]),)
    >>> rollout = Rollout(chunk, tokens, tokens, (row,), (row,), ("Yes",), ("eos",), 0, 0.2)
    >>> helpful = Scores("helpful", PropertyView(number, number - 1, number, -number), 0, 0.1)
    >>> experience = Experience(rollout, {"helpful": helpful}, LogProbs((row,), 0.05))
    >>> sorted(experience.scores), experience.rollout.responses
    (['helpful'], ('Yes',))
    """

    rollout: Rollout
    scores: dict[str, Scores]
    reference: LogProbs


@dataclass(frozen=True)
class Batch(PacksRows):
    """What one update learns from, in chunk order. Rows with a failed score are already gone.

    `groups` gives each row's prompt; every group has at least two rows. `utilities` are combined, in nats, without KL.

    Two responses to the prompt at position 3 of the step, whose other samples are all here too.

    >>> batch = Batch(
    ...     step=4,
    ...     prompt_tokens=(np.int32([1, 40]), np.int32([1, 40])),
    ...     response_tokens=(np.int32([50, 2]), np.int32([51])),
    ...     logprobs=(np.float32([-0.7, -0.1]), np.float32([-1.5])),
    ...     reference_logprobs=(np.float32([-1.0, -0.2]), np.float32([-1.5])),
    ...     utilities=np.float32([-0.25, -1.5]),
    ...     groups=np.int64([3, 3]),
    ...     kl_coefficient=0.1,
    ...     policy_version=4,
    ... )
    >>> batch.utilities - batch.utilities[::-1]  # RLOO: each against the mean of the others of its group
    array([ 1.25, -1.25], dtype=float32)
    """

    step: int
    prompt_tokens: tuple[TokenRow, ...]  # one per row
    response_tokens: tuple[TokenRow, ...]
    logprobs: tuple[FloatRow, ...]
    reference_logprobs: tuple[FloatRow, ...]
    utilities: FloatRow
    groups: NDArray[np.int64]
    kl_coefficient: float
    policy_version: int


@dataclass(frozen=True)
class UpdateResult:
    """What a learner says after an update: its new weight version and its metrics.

    >>> UpdateResult(policy_version=5, metrics={"loss": -0.01, "gradient_norm": 0.8, "seconds": 1.2}).policy_version
    5
    """

    policy_version: int
    metrics: dict[str, float]
    retries: tuple[Retry, ...] = ()


@dataclass(frozen=True)
class Weights:
    """A published weight version, or a part of one: numpy arrays (bfloat16 as uint16 views, see `dtypes`), shared
    read-only. `training` tells one start or load of a learner from the next, since versions are counted from there.

    The number 1 in bfloat16, which is the upper half of its float32 bits:

    >>> weights = Weights(5, {"lm_head.weight": np.uint16([[0x3F80]])}, {"lm_head.weight": "bfloat16"})
    >>> (weights.arrays["lm_head.weight"].astype(np.uint32) << 16).view(np.float32)
    array([[1.]], dtype=float32)
    """

    policy_version: int
    arrays: dict[str, NDArray[np.generic]]
    dtypes: dict[str, str]
    training: str = ""
