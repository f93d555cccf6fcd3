"""Which prompts a run uses, and which of them a step.

A step's prompts are a pure function of (seed, step), so that the data cursor of a run is its step number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from allgood.errors import ConfigError
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.data.prepared import Split
from pipelines.data.proportion import in_proportion

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
    return in_proportion(by_source)


def prompts_of(config: RunConfig, prompts: Sequence[Prompt], split: Split) -> list[Prompt]:
    """The prompts of a split that a run uses: all, or the first `references.max_prompts` of it."""
    return of_split(prompts, split)[: config.references.max_prompts.get(split)]


def run_prompts(config: RunConfig, prompts: Sequence[Prompt], split: Split) -> list[Prompt]:
    """The prompts of a split that an alignment uses: those of `prompts_of`, or all where a predicted reference says so.

    Not wherever references are predicted: runs that differ in their reference alone must meet the same prompts.

    Raises:
        ConfigError: A property asks for all prompts, and another one needs samples of each.
    """
    references = {name: setting.reference for name, setting in config.properties.items()}
    asking = [name for name, found in references.items() if found.takes_every_prompt]
    if not asking:
        return prompts_of(config, prompts, split)
    for name, found in references.items():
        if found.needs not in ("nothing", "head"):
            raise ConfigError(
                f"properties.{asking[0]}.reference.prompts is all, but the {found.kind} reference of {name} needs "
                "samples of each prompt; leave `prompts` out, or give that property a reference of kind predicted too"
            )
    return of_split(prompts, split)


def permutation(size: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch; another one for each (seed, epoch)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(size)
