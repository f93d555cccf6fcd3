"""What a step knows of its rows: scores of all chunks, texts, groups, in chunk order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actors.messages import Experience, FloatRow, Scores
from allgood.all_good import AllGood, Judged
from allgood.views import PropertyView


def texts(experience: Sequence[Experience]) -> tuple[list[str], list[str]]:
    """Prompt and response text of every row, in chunk order."""
    prompts = [
        prompt
        for chunk in experience
        for prompt in chunk.rollout.chunk.prompts
        for _ in range(chunk.rollout.chunk.samples_per_prompt)
    ]
    return prompts, [response for chunk in experience for response in chunk.rollout.responses]


def merged_scores(experience: Sequence[Experience]) -> dict[str, Scores]:
    """One `Scores` per property over the rows of all chunks, in chunk order."""
    return {name: _concatenated([chunk.scores[name] for chunk in experience]) for name in experience[0].scores}


def judged(experience: Sequence[Experience], all_good: AllGood) -> Judged:
    """What is made of the rows of all chunks, in chunk order; their rewards were treated where they were scored."""
    views = {name: scores.view for name, scores in merged_scores(experience).items()}
    reasons = [reason for chunk in experience for reason in chunk.rollout.finish_reasons]
    return all_good.of_views(views, was_cut=np.array([reason == "length" for reason in reasons], dtype=np.bool_))


def rewards_of(experience: Sequence[Experience]) -> dict[str, FloatRow]:
    """Raw rewards per property over the rows of all chunks, in chunk order."""
    return {name: scores.view.rewards for name, scores in merged_scores(experience).items()}


def _concatenated(parts: Sequence[Scores]) -> Scores:
    starts = np.cumsum([0, *(len(part.view.rewards) for part in parts)]).tolist()
    return Scores(
        property=parts[0].property,
        view=PropertyView.concatenated([part.view for part in parts]),
        num_prompts_cut=sum(part.num_prompts_cut for part in parts),
        seconds=sum(part.seconds for part in parts),
        reasons={
            start + row: why for start, part in zip(starts, parts, strict=False) for row, why in part.reasons.items()
        },
        num_given_up=sum(part.num_given_up for part in parts),
        retries=tuple(retry for part in parts for retry in part.retries),
    )


def groups_of(experience: Sequence[Experience]) -> NDArray[np.int64]:
    """The position of each row's prompt in the step. Not its id: a prompt drawn twice makes two groups."""
    samples = [chunk.rollout.chunk.samples_per_prompt for chunk in experience for _ in chunk.rollout.chunk.prompts]
    return np.repeat(np.arange(len(samples), dtype=np.int64), samples)
