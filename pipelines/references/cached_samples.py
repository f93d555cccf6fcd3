"""Cached samples: what `allgood reference` kept of the start policy, and what a run would make of it.

Preview, best-of-k and efficiency read rewards from here. Utilities are computed by the very functions that the reward
actors and the objective of a run use, in the same precision, so that preview and training cannot mean different things.
Nothing loops over samples.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood.all_good import Judged
from allgood.errors import ConfigError, ReferenceTableError
from pipelines.cast.request import EVALUATOR
from pipelines.config.objectives import NormaliseThenSumObjective, Objective
from pipelines.config.run import RunConfig
from pipelines.objective.gold import over_every_bar
from pipelines.references.judge_keys import refuse_changed_judges
from pipelines.references.keys import table_keys
from pipelines.references.table import SAMPLES, ReferenceTable
from pipelines.references.treatments import all_good_of
from pipelines.run.folder import RunFolder


@dataclass(frozen=True)
class CachedSamples:
    """Samples of pi_0 on the prompts of a split; tensors are float64 [prompts, samples], NaN = failed score.

    `gold` and `evaluators` (held-out preference models) are empty where they were not scored.
    """

    split: str
    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]  # [prompts][samples]
    finish_reasons: tuple[tuple[str, ...], ...]
    num_tokens: Tensor  # int64
    was_cut: Tensor  # bool, at the length limit
    rewards: Mapping[str, Tensor]
    gold: Mapping[str, Tensor]
    evaluators: Mapping[str, Tensor]

    @property
    def num_samples(self) -> int:
        """Samples per prompt."""
        return self.num_tokens.shape[1]

    def actor_rewards(self, name: str) -> NDArray[np.float32]:
        """A property's rewards as its reward actor had them, [prompts, samples]."""
        rewards: NDArray[np.float32] = self.rewards[name].numpy().astype(np.float32)
        return rewards

    def on(self, kept: Tensor) -> CachedSamples:
        """The samples of some prompts: `kept` is [prompts] bool."""
        rows = kept.nonzero()[:, 0].tolist()
        return CachedSamples(
            split=self.split,
            prompt_ids=tuple(self.prompt_ids[row] for row in rows),
            prompts=tuple(self.prompts[row] for row in rows),
            responses=tuple(self.responses[row] for row in rows),
            finish_reasons=tuple(self.finish_reasons[row] for row in rows),
            num_tokens=self.num_tokens[kept],
            was_cut=self.was_cut[kept],
            rewards={name: grid[kept] for name, grid in self.rewards.items()},
            gold={name: grid[kept] for name, grid in self.gold.items()},
            evaluators={name: grid[kept] for name, grid in self.evaluators.items()},
        )

    def all_good(self, bars: Mapping[str, float]) -> Tensor:
        """1 where a sample's gold is over every bar, else 0; float64 [prompts, samples]."""
        gold = {name: self.gold[name].numpy() for name in bars}
        return torch.from_numpy(over_every_bar(gold, bars)).double()


def load_cached_samples(config: RunConfig, split: str, *, prompt_ids: Collection[str] | None = None) -> CachedSamples:
    """The cached samples of a split, in order of prompt id; with `prompt_ids`, only those of them that were sampled.

    Raises:
        ReferenceTableError: There are none, they belong to another policy, model or setting (by key), a judge has
            changed since, a prompt has fewer than 2 samples, or prompts differ in their number of samples.
    """
    folder = RunFolder(config.base_folder).references
    table = ReferenceTable.load(folder)
    table.check(table_keys(config, list(config.properties)))
    refuse_changed_judges(config, table.manifest, where=str(folder))
    rows = pq.read_table(folder / SAMPLES, filters=[("split", "=", split)])
    if prompt_ids is not None:
        rows = rows.filter(pc.is_in(rows["prompt_id"], pa.array(list(prompt_ids), pa.string())))
    if not rows.num_rows:
        raise ReferenceTableError(
            f"{folder / SAMPLES} holds no samples of the {split} split (it holds "
            f"{', '.join(table.manifest['made_with']['splits'])}); add it to references.splits and run "
            "`allgood reference` again"
        )
    rows = rows.sort_by([("prompt_id", "ascending"), ("sample", "ascending")])
    num_samples = _samples_per_prompt(rows, where=f"the {split} split of {folder / SAMPLES}")
    grids = {
        name: torch.from_numpy(rows[name].to_numpy().astype(np.float64).reshape(-1, num_samples))
        for name in rows.column_names
        if name.startswith(("reward.", "gold.", EVALUATOR))
    }
    return CachedSamples(
        split=split,
        prompt_ids=tuple(rows["prompt_id"].to_pylist()[::num_samples]),
        prompts=tuple(rows["prompt"].to_pylist()[::num_samples]),
        responses=_texts(rows, "response", num_samples),
        finish_reasons=_texts(rows, "finish_reason", num_samples),
        was_cut=torch.tensor([reason == "length" for reason in rows["finish_reason"].to_pylist()]).reshape(
            -1, num_samples
        ),
        num_tokens=torch.from_numpy(rows["num_tokens"].to_numpy().astype(np.int64).reshape(-1, num_samples)),
        rewards={name: grids[f"reward.{name}"] for name in config.properties},
        gold=_without_prefix(grids, "gold."),
        evaluators=_without_prefix(grids, EVALUATOR),
    )


def judged_samples(config: RunConfig, cached: CachedSamples, table: ReferenceTable | None) -> Judged:
    """What the run of `config` would make of the cached samples, [prompts, samples].

    Raises:
        ConfigError, ReferenceTableError, RoleError: As the run would raise them.
    """
    refuse_without_utility(config.objective)
    all_good = all_good_of(config, table, cached.prompt_ids, key="cached")
    rewards = {name: cached.actor_rewards(name) for name in all_good.properties}
    return all_good.of_rewards(rewards, cached.prompt_ids, was_cut=cached.was_cut.numpy())


def cached_utilities(config: RunConfig, cached: CachedSamples, table: ReferenceTable | None) -> Tensor:
    """The combined utilities of `judged_samples`, float64 [prompts, samples]; NaN where a needed score failed."""
    return torch.from_numpy(judged_samples(config, cached, table).utilities).double()


def refuse_without_utility(objective: Objective) -> None:
    """ConfigError for an objective that has no utility (normalise_then_sum)."""
    if isinstance(objective, NormaliseThenSumObjective):
        raise ConfigError(
            "objective.kind normalise_then_sum is a rule for advantages and has no utility that samples could be "
            "reweighted by; leave it out of previews"
        )


def _samples_per_prompt(rows: pa.Table, *, where: str) -> int:
    """The number of samples that every prompt has, in rows sorted by prompt."""
    sizes = np.unique(np.unique(rows["prompt_id"].to_numpy(zero_copy_only=False), return_counts=True)[1])
    if sizes[0] < 2:
        raise ReferenceTableError(
            f"{where} has prompts with {sizes[0]} sample; at least 2 are needed: raise references.num_samples and run "
            "`allgood reference` again"
        )
    if len(sizes) > 1:
        raise ReferenceTableError(
            f"{where} has between {sizes[0]} and {sizes[-1]} samples per prompt, but each must have as many; run "
            "`allgood reference` again"
        )
    return int(sizes[0])


def _texts(rows: pa.Table, column: str, num_samples: int) -> tuple[tuple[str, ...], ...]:
    flat = rows[column].to_pylist()
    return tuple(tuple(flat[start : start + num_samples]) for start in range(0, len(flat), num_samples))


def _without_prefix(grids: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): grid for name, grid in grids.items() if name.startswith(prefix)}
