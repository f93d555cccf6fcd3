"""Chunks: what they hold, and that their seeds and order depend on nothing but (seed, step, index)."""

from __future__ import annotations

import asyncio

import numpy as np

from actors.messages import Chunk, Experience, LogProbs, Rollout, Scores
from allgood.views import PropertyView
from pipelines.cast.collect import Crew, collect_all, make_chunks, purpose_seed
from pipelines.cast.experience import texts
from pipelines.data import Prompt
from pipelines.data.prompt_order import step_prompts

PROMPTS = [Prompt(f"id{index}", f"text {index}", "alignment", "") for index in range(7)]


def chunks(step: int = 0, seed: int = 5) -> list[Chunk]:
    return make_chunks(PROMPTS, seed=seed, step=step, policy_version=2, samples_per_prompt=3, prompts_per_chunk=3)


def test_consecutive_prompts_share_a_chunk_and_the_last_may_be_smaller() -> None:
    made = chunks()
    assert [chunk.prompt_ids for chunk in made] == [("id0", "id1", "id2"), ("id3", "id4", "id5"), ("id6",)]
    assert [chunk.index for chunk in made] == [0, 1, 2]
    assert {chunk.policy_version for chunk in made} == {2}


def test_every_chunk_of_every_step_and_purpose_has_its_own_seed() -> None:
    purposes = [purpose_seed(5, purpose) for purpose in ("training", "references", "validation", "evaluation")]
    seeds = [chunk.seed for seed in purposes for step in range(4) for chunk in chunks(step, seed)]
    assert len(set(seeds)) == len(seeds)
    assert chunks(step=3) == chunks(step=3)


def test_an_epoch_uses_every_prompt_once_and_the_next_has_another_order() -> None:
    items = list(range(10))
    drawn = [step_prompts(items, seed=1, step=step, prompts_per_step=4) for step in range(5)]
    flat = [item for step in drawn for item in step]
    assert sorted(flat[:10]) == items
    assert sorted(flat[10:]) == items
    assert flat[:10] != flat[10:]
    assert step_prompts(items, seed=1, step=3, prompts_per_step=4) == drawn[3]
    assert step_prompts(items, seed=2, step=0, prompts_per_step=4) != drawn[0]


def test_a_step_may_need_more_prompts_than_there_are() -> None:
    drawn = step_prompts([0, 1, 2], seed=0, step=0, prompts_per_step=6)
    assert sorted(drawn) == [0, 0, 1, 1, 2, 2]


def test_experience_comes_in_chunk_order_and_progress_counts_prompts() -> None:
    async def generate(chunk: Chunk) -> Rollout:
        await asyncio.sleep(0.002 * (3 - chunk.index))
        rows = tuple(np.float32([0.0]) for _ in range(len(chunk.prompts) * 3))
        tokens = tuple(np.int32([1]) for _ in rows)
        responses = tuple(f"{prompt} sample {j}" for prompt in chunk.prompts for j in range(3))
        return Rollout(chunk, tokens[: len(chunk.prompts)], tokens, rows, rows, responses, ("eos",) * len(rows), 0, 0.0)

    async def score(rollout: Rollout) -> Scores:
        values = np.zeros(len(rollout.responses), np.float32)
        return Scores("a", PropertyView(values, values, values, values), 0, 0.0)

    async def reference(rollout: Rollout) -> LogProbs:
        return LogProbs(rollout.logprobs, 0.0)

    counted: list[int] = []
    inspected: list[Experience] = []
    crew = Crew(generate, {"a": score}, reference)
    experience = asyncio.run(collect_all(chunks(), crew, counted.append, inspect_first=inspected.append))
    assert inspected == experience[:1]
    assert [chunk.rollout.chunk.index for chunk in experience] == [0, 1, 2]
    assert counted == [1, 3, 3]  # the last chunk answers first
    prompts, responses = texts(experience)
    assert prompts[8:10] == ["text 2", "text 3"]
    assert responses[8:10] == ["text 2 sample 2", "text 3 sample 0"]
