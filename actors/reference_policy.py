"""The reference policy: log pi_0 of what the policy wrote. Its weights never change."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from actors.learning.token_logprobs import rollout_logprobs
from actors.location import location
from actors.messages import LogProbs, Rollout
from actors.sources import Find, as_named
from allgood.scorers.models import load_policy, resolve_device, resolve_dtype


@dataclass(frozen=True)
class ReferencePolicySpec:
    """What a reference-policy actor is made of."""

    model: str
    device: str
    dtype: str
    threads: int
    micro_batch_tokens: int


class ReferencePolicyWorker:
    """Holds pi_0, the start policy, with dropout off."""

    def __init__(self, spec: ReferencePolicySpec, find: Find = as_named) -> None:
        torch.set_num_threads(spec.threads)
        device = resolve_device(spec.device)
        self._model = load_policy(find(spec.model), dtype=resolve_dtype(spec.dtype, device), device=device)
        self._model.requires_grad_(False)
        self._micro_batch_tokens = spec.micro_batch_tokens

    def has_float32_logprobs(self) -> bool:
        """Whether its passes run in float32."""
        return self._model.dtype == torch.float32

    def logprobs(self, rollout: Rollout) -> LogProbs:
        """Log pi_0 at temperature 1 of every response token id of the rollout."""
        return rollout_logprobs(self._model, rollout, micro_batch_tokens=self._micro_batch_tokens)

    def location(self) -> dict[str, str | int]:
        """Where this worker runs."""
        return location()
