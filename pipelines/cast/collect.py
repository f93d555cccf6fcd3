"""Collecting responses: prompts -> chunks with seeds -> experience in chunk order.

Every purpose (training, references, validation, evaluation) draws its chunks here, each from its own stream of seeds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from actors.cluster.gather import gather
from actors.generation.seeds import chunk_seed
from actors.messages import Chunk, Experience, LogProbs, Rollout, Scores
from pipelines.data import Prompt

Purpose = Literal["training", "references", "validation", "evaluation", "inspection"]


Delivery = Callable[[], Awaitable[None]]
"""Brings a published weight version to all rollout actors."""


def make_chunks(
    prompts: Sequence[Prompt],
    *,
    seed: int,
    step: int,
    policy_version: int,
    samples_per_prompt: int,
    prompts_per_chunk: int,
) -> list[Chunk]:
    """Consecutive prompts share a chunk; its seed derives from (seed, step, index)."""
    return [
        Chunk(
            step=step,
            index=index,
            seed=chunk_seed(seed, step, index),
            policy_version=policy_version,
            prompt_ids=tuple(prompt.id for prompt in prompts[start : start + prompts_per_chunk]),
            prompts=tuple(prompt.text for prompt in prompts[start : start + prompts_per_chunk]),
            samples_per_prompt=samples_per_prompt,
        )
        for index, start in enumerate(range(0, len(prompts), prompts_per_chunk))
    ]


def purpose_seed(seed: int, purpose: Purpose) -> int:
    """A run seed of its own for each purpose, so that validation never sees training's random numbers."""
    return int.from_bytes(hashlib.sha256(f"allgood {purpose} {seed}".encode()).digest()[:6], "little")


def _anything(experience: Experience) -> None:
    """No inspection."""


async def collect_all(
    chunks: Sequence[Chunk],
    crew: Crew,
    advance: Callable[[int], None],
    *,
    inspect_first: Callable[[Experience], None] = _anything,
) -> list[Experience]:
    """Experience of all chunks, in chunk order; `advance` is told the number of prompts of each chunk that is done.

    What `inspect_first` raises about the first chunk ends the collection, as long as there is something to save.
    """

    async def one(chunk: Chunk) -> Experience:
        experience = await collect(chunk, crew)
        if chunk.index == 0:
            inspect_first(experience)
        advance(len(chunk.prompts))
        return experience

    return await gather(one(chunk) for chunk in chunks)


@dataclass(frozen=True)
class Crew:
    """Who makes experience: coroutine functions, local ones as well as calls of remote actors."""

    generate: Callable[[Chunk], Awaitable[Rollout]]
    score: Mapping[str, Callable[[Rollout], Awaitable[Scores]]]  # one per property
    reference: Callable[[Rollout], Awaitable[LogProbs]]


async def collect(chunk: Chunk, crew: Crew) -> Experience:
    """Generate one chunk, then score it."""
    return await assess(await crew.generate(chunk), crew)


async def assess(rollout: Rollout, crew: Crew) -> Experience:
    """Score a rollout and take its reference log-probs side by side."""
    scoring = asyncio.gather(*(score(rollout) for score in crew.score.values()))
    reference, scores = await asyncio.gather(crew.reference(rollout), scoring)
    return Experience(rollout, dict(zip(crew.score, scores, strict=True)), reference)
