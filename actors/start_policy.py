"""pi_0 of exported rewards as a rollout worker: what it is made of, and what it is asked for a prompt."""

from __future__ import annotations

from actors.messages import Chunk
from actors.rollout import RolloutSpec
from allgood.scorers.rewards_spec import StartPolicySpec


def rollout_spec(policy: StartPolicySpec, *, threads: int) -> RolloutSpec:
    """A rollout worker that samples pi_0. It is never told of other weights, so its version stays 0."""
    return RolloutSpec(
        model=policy.source,
        max_new_tokens=policy.max_new_tokens,
        max_prompt_tokens=policy.max_prompt_tokens,
        stop=policy.stop,
        device=policy.device,
        dtype=policy.dtype,
        threads=threads,
        engine="torch",
    )


def prompt_chunk(prompt_id: str, prompt: str, *, num_samples: int, seed: int) -> Chunk:
    """A chunk of one prompt. Its rollout depends on `seed` (64 bits), see `seeds.prompt_seed`, and on the prompt."""
    return Chunk(0, 0, seed, 0, (prompt_id,), (prompt,), num_samples)
