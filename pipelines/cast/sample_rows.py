"""Rows about samples, as every file of samples holds them: one naming of the columns, one builder.

A column is named in `COLUMNS`, or it is a number per property or scorer, `<kind>.<name>` with a kind of
`OF_PROPERTY`. Which file holds which of them is said in docs/reference/samples.md. A number that is missing, such as a
failed score, is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actors.messages import Experience
from pipelines.cast.experience import texts
from pipelines.cast.request import EVALUATOR

COLUMNS = {
    "prompt_id": "first 16 hex digits of the SHA-256 of the prompt, the same in every file",
    "split": "the prompt's split",
    "step": "of the training, at which the policy was evaluated",
    "sample": "number of the sample among those of its prompt, from 0",
    "prompt": "text",
    "response": "text, without the stop text",
    "response_tokens": "token ids of the policy's tokenizer",
    "finish_reason": "`eos`, `stop`, or `length` for a response that was cut",
    "num_tokens": "tokens of the response",
    "chunk_seed": "seed of the chunk that the sample was drawn in, as text",
    "reference_logprob": "log-probability of the response under the start policy, in nats",
    "kl": "log pi - log pi_0 of the response, in nats",
    "utility": "the combined utility, without the KL",
}
OF_PROPERTY = {
    "reward": "raw reward of a property's scorer",
    "evaluator": "score of its held-out preference model",
    "gold": "gold score",
    "reference": "r_ref",
    "margin": "reward minus r_ref",
    "utility": "what the property's transform makes of it",
    "p_good": "probability that the response is good in this respect",
}


def sample_rows(columns: Mapping[str, Sequence[Any] | np.ndarray]) -> list[dict[str, Any]]:
    """One row per sample from columns of equal length, as plain Python values.

    Raises:
        ValueError: A column is none of those that files of samples have, or is shorter than another.
    """
    for name in columns:
        if name not in COLUMNS and not ("." in name and name.split(".")[0] in OF_PROPERTY):
            raise ValueError(f"{name!r} is no column of samples; name it in pipelines/cast/sample_rows.py")
    plain = [values.tolist() if isinstance(values, np.ndarray) else values for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*plain, strict=True)]


def rollout_columns(experience: Sequence[Experience]) -> dict[str, list[Any]]:
    """Who was asked and what came, in chunk order: what every file of samples has."""
    prompts, responses = texts(experience)
    rollouts = [chunk.rollout for chunk in experience]
    places = [
        (prompt_id, sample)
        for rollout in rollouts
        for prompt_id in rollout.chunk.prompt_ids
        for sample in range(rollout.chunk.samples_per_prompt)
    ]
    return {
        "prompt_id": [prompt_id for prompt_id, _ in places],
        "sample": [sample for _, sample in places],
        "prompt": prompts,
        "response": responses,
        "finish_reason": [reason for rollout in rollouts for reason in rollout.finish_reasons],
        "num_tokens": [len(tokens) for rollout in rollouts for tokens in rollout.response_tokens],
    }


def of_property(kind: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns `<kind>.<property>`."""
    return {f"{kind}.{name}": numbers for name, numbers in values.items()}


def score_columns(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of raw scores: `reward.<property>`, and `evaluator.<property>` of held-out preference models."""
    return {name if name.startswith(EVALUATOR) else f"reward.{name}": numbers for name, numbers in scores.items()}
