"""Which prompts a run uses, and which of them a step.

A step's prompts are a pure function of (seed, step), so that the data cursor of a run is its step number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.config.properties import ConstantReference, NoReference, PredictedReference
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.data.prepared import Split

Item = TypeVar("Item")


def step_prompts(prompts: Sequence[Item], *, seed: int, step: int, prompts_per_step: int) -> list[Item]:
    """The prompts of step `step` (0 is the first): consecutive ones of a fresh permutation per epoch, none left out."""
    positions = range(step * prompts_per_step, (step + 1) * prompts_per_step)
    epochs = {
        epoch: permutation(len(prompts), seed=seed, epoch=epoch) for epoch in {p // len(prompts) for p in positions}
    }
    return [prompts[epochs[position // len(prompts)][position % len(prompts)]] for position in positions]


def of_split(prompts: Sequence[Prompt], split: Split) -> list[Prompt]:
    """The prompts of a split in an order of which any first n hold every source in proportion.

    Prepared prompts stand file after file; cutting that order would leave the later files out.
    """
    by_source: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        if prompt.split == split:
            by_source[prompt.source].append(prompt)
    ranked = [
        ((position + 0.5) / len(members), source, prompt)
        for source, members in by_source.items()
        for position, prompt in enumerate(members)
    ]
    return [prompt for _, _, prompt in sorted(ranked, key=lambda entry: entry[:2])]


def prompts_of(config: RunConfig, prompts: Sequence[Prompt], split: Split) -> list[Prompt]:
    """The prompts of a split that a run uses: all, or the first `references.max_prompts` of it."""
    return of_split(prompts, split)[: config.references.max_prompts.get(split)]


def run_prompts(config: RunConfig, prompts: Sequence[Prompt], split: Split) -> list[Prompt]:
    """The prompts of a split that an alignment uses: those of `prompts_of`, or all where references are predicted.

    A predicted reference needs no samples of its prompt, so `references.max_prompts` bounds the sampling only.
    """
    references = [setting.reference for setting in config.properties.values()]
    predicted = any(isinstance(reference, PredictedReference) for reference in references)
    free = all(isinstance(reference, PredictedReference | NoReference | ConstantReference) for reference in references)
    return of_split(prompts, split) if predicted and free else prompts_of(config, prompts, split)


def permutation(size: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch; another one for each (seed, epoch)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(size)
