"""What travels between the roles: frozen values, each carrying the weight version that made it.

Rows of a chunk are prompt-major: row `p * samples_per_prompt + j` is sample j of prompt p. Lengths differ by row, so
per-token values travel as one numpy array per row. Log-probabilities are natural logs at temperature 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allgood.views import PropertyView

FinishReason = Literal["eos", "stop", "length"]
FloatRow = NDArray[np.float32]
TokenRow = NDArray[np.int32]


@dataclass(frozen=True)
class Chunk:
    """The unit of work and of determinism: fixed prompts x samples with their own seed.

    `seed` derives from (run seed, step, index), so that any worker that computes the chunk returns the same rollout.
    `policy_version` is the weight version that must generate it. `prompts` are canonical texts ending in "Assistant:".
    """

    step: int
    index: int
    seed: int
    policy_version: int
    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    samples_per_prompt: int


@dataclass(frozen=True)
class Rollout:
    """Responses to a chunk. `response_tokens` include EOS where it was sampled; `responses` are trimmed texts."""

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
class Scores:
    """One property's view of a rollout, [rows]."""

    property: str
    view: PropertyView
    num_prompts_cut: int
    seconds: float


@dataclass(frozen=True)
class LogProbs:
    """log pi_0 of every response token, by the reference policy."""

    rows: tuple[FloatRow, ...]
    seconds: float


@dataclass(frozen=True)
class Experience:
    """A chunk that has been generated, scored by every property and compared with the reference policy."""

    rollout: Rollout
    scores: dict[str, Scores]
    reference: LogProbs


@dataclass(frozen=True)
class Batch:
    """What one update learns from, in chunk order. Rows with a failed score are already gone.

    `groups` gives each row's prompt; every group has at least two rows. `utilities` are combined, in nats, without KL.
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
    """What a learner says after an update: its new weight version and its metrics."""

    policy_version: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Weights:
    """A published weight version: numpy arrays (bfloat16 as uint16 views, see `dtypes`), shared read-only."""

    policy_version: int
    arrays: dict[str, NDArray[np.generic]]
    dtypes: dict[str, str]
