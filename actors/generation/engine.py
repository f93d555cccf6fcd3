"""What generates: prompts and a seed in; tokens, their log-probs and entropies, and finish reasons out.

An engine owns the weights that it samples from. `torch_engine` is ours; another one, such as vLLM, is one more file
that keeps this interface and a name in `actors.rollout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from actors.messages import FinishReason, FloatRow, TokenRow, Weights

EngineKind = Literal["torch"]


@dataclass(frozen=True)
class Generation:
    """Rows are prompt-major: row p * samples_per_prompt + j is sample j of prompt p. Tokens include a sampled EOS."""

    tokens: tuple[TokenRow, ...]
    logprobs: tuple[FloatRow, ...]
    entropies: tuple[FloatRow, ...]
    finish_reasons: tuple[FinishReason, ...]


class Engine(Protocol):
    """What a rollout worker needs from an engine."""

    @property
    def exact_logprobs(self) -> bool:
        """Whether its log-probs are those of the policy at temperature 1, up to float rounding.

        An engine with kernels or a precision of its own says no, and log pi_0 then comes from the reference policy.
        """
        ...

    def set_weights(self, weights: Weights) -> None:
        """Sample from these weights from now on; `RoleError` when they do not fit the policy."""
        ...

    def generate(self, prompts: Sequence[Sequence[int]], samples_per_prompt: int, seed: int) -> Generation:
        """Sample `samples_per_prompt` responses to each prompt (token ids, none empty)."""
        ...
