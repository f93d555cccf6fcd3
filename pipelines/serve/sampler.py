"""One replica of the start policy's deployment: fresh samples of pi_0 on prompts that no table knows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import torch

from actors.generation.seeds import prompt_seed
from actors.rollout import RolloutWorker
from actors.start_policy import prompt_chunk, rollout_spec
from allgood.scorers.rewards_spec import StartPolicySpec
from pipelines.serve.model_or_reason import ModelOrReason


@dataclass(frozen=True)
class SamplerSpec:
    """What a replica is made of."""

    policy: StartPolicySpec
    threads: int = 1


class Sampler:
    """Samples one prompt at a time."""

    def __init__(self, spec: SamplerSpec) -> None:
        torch.set_num_threads(spec.threads)
        self._policy = spec.policy
        self._worker = ModelOrReason(lambda: RolloutWorker(rollout_spec(spec.policy, threads=spec.threads)))
        self._sampling = asyncio.Lock()

    async def ready(self) -> None:
        """Answer when the model is there.

        Raises:
            AllgoodError: Why it cannot be loaded.
        """
        self._worker.check()

    async def sample(self, prompt_id: str, prompt: str) -> tuple[str, ...]:
        """Responses of pi_0 to a prompt, the same each time.

        Raises:
            ModelError: Nothing of the prompt fits.
            RoleError: The policy's logits are not finite.
            ModellessError: This replica has no model; another may have.
        """
        worker = self._worker.asked()
        seed = prompt_seed(self._policy.seed, prompt_id)
        chunk = prompt_chunk(prompt_id, prompt, num_samples=self._policy.num_samples, seed=seed)
        async with self._sampling:
            return (await asyncio.to_thread(worker.generate, chunk)).responses

    async def check_health(self) -> None:
        """See `ModelOrReason.check_health`."""
        self._worker.check_health()
