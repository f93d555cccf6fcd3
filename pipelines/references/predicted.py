"""References for prompts that were never sampled: a head on features of their text, trained on alignment prompts.

Features are the mean of the last hidden states of the reward model, or of an encoder that is named, over the prompt's
tokens. A fifth of the sampled alignment prompts is kept out to measure whether predicted quantiles hold (coverage); the
head that is used is then trained on all of them, and predicts mean and standard deviation for every prompt of the
sampled splits. Samples of other splits are never learnt from: what is said about test prompts must not have seen them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from allgood.errors import DataError
from allgood.reference_head import coverage, fit
from pipelines.cast.lane import Lane
from pipelines.config.properties import Reference
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.data.prompt_order import permutation
from pipelines.output.progress import say
from pipelines.run.start_policy import absolute_source

MIN_PROMPTS = 20  # sampled ones, fewer of which say nothing about coverage


@dataclass(frozen=True)
class Predicted:
    """Rows of `predicted.parquet`, and per property what held on prompts that were kept out."""

    rows: list[dict[str, Any]]
    coverage: dict[str, Any]


async def predict_references(
    config: RunConfig,
    lane: Lane,
    prompts: Sequence[Prompt],
    samples: Sequence[Mapping[str, Any]],
    wanted: Mapping[str, Sequence[Reference]],
) -> Predicted:
    """Predict for `prompts` every property that wants it, from the sampled rewards.

    Raises:
        DataError: Too few alignment prompts were sampled.
    """
    rows: list[dict[str, Any]] = []
    report: dict[str, Any] = {}
    for name, references in wanted.items():
        encoders = {encoder for reference in references for encoder in reference.encoders}
        for encoder in sorted(encoders, key=str):
            source = None if encoder is None else absolute_source(encoder)
            features = torch.from_numpy(await lane.prompt_features(name, [prompt.text for prompt in prompts], source))
            sampled, draws = complete_draws(name, prompts, samples)
            head = name if encoder is None else f"{name} on {encoder}"
            report[head] = held_out_coverage(features[sampled], draws, seed=config.seed)
            predicted = fit(features[sampled], draws, seed=config.seed)(features)
            rows += [
                {"prompt_id": prompt.id, "property": name, "encoder": encoder, "mean": float(mean), "std": float(std)}
                for prompt, mean, std in zip(prompts, predicted.mean.detach(), predicted.std.detach(), strict=True)
            ]
            shares = ", ".join(f"{row['share_below']:.2f} for {row['quantile']:g}" for row in report[head]["quantiles"])
            say(f"predicted references of {head}: share of held-out samples below the predicted quantile: {shares}")
    return Predicted(rows, report)


def complete_draws(
    name: str, prompts: Sequence[Prompt], samples: Sequence[Mapping[str, Any]]
) -> tuple[list[int], Tensor]:
    """Positions of the alignment prompts of which every sample was scored, and their rewards [prompts, draws]."""
    rewards: dict[str, list[float]] = {}
    for sample in samples:
        rewards.setdefault(sample["prompt_id"], []).append(sample[f"reward.{name}"])
    complete = [
        position
        for position, prompt in enumerate(prompts)
        if prompt.split == "alignment" and prompt.id in rewards and np.isfinite(rewards[prompt.id]).all()
    ]
    if len(complete) < MIN_PROMPTS:
        raise DataError(
            f"reference predicted of property {name} learns from sampled alignment prompts, but only {len(complete)} "
            f"have all their samples scored; at least {MIN_PROMPTS} are needed: raise references.max_prompts.alignment "
            "and keep alignment in references.splits"
        )
    return complete, torch.tensor([rewards[prompts[position].id] for position in complete], dtype=torch.float32)


def held_out_coverage(features: Tensor, draws: Tensor, *, seed: int) -> dict[str, Any]:
    """Coverage of a head that has not seen a fifth of the prompts, on that fifth."""
    order = permutation(len(draws), seed=seed, epoch=0)
    held_out, kept = order[: len(draws) // 5], order[len(draws) // 5 :]
    head = fit(features[kept], draws[kept], seed=seed)
    with torch.no_grad():
        found = coverage(head(features[held_out]), draws[held_out])
    return {
        "num_prompts": len(kept),
        "num_held_out": len(held_out),
        "quantiles": [asdict(entry) for entry in found],
    }
