"""What the study runs: per world, gamma for every objective and target KL by tilting, and the tuned raw sum's weights.

Gammas come from `solve_gamma` on cached samples of the SFT policy on alignment prompts, so that unlike scales of
utility meet at the same target KLs. The raw sum's weights are tuned on validation prompts by gold, its fair form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from allgood.tilting import solve_gamma, tilt
from allgood.transforms import log_sigmoid
from pipelines.comparison import Arm, lsc_sum_arm, raw_sum_arm
from pipelines.config.properties import QuantileReference
from pipelines.config.run import RunConfig
from pipelines.gold import gold_of
from pipelines.reference_table import SAMPLES, ReferenceTable
from pipelines.run_folder import RunFolder

TARGET_KLS = (0.25, 0.5, 1.0, 2.0)
RATIOS = tuple(float(ratio) for ratio in np.geomspace(1 / 8, 8, 9))


@dataclass(frozen=True)
class Cached:
    """Samples of the SFT policy on one split, by property: rewards, gold [prompts, samples]; references [prompts]."""

    rewards: Mapping[str, Tensor]
    references: Mapping[str, Tensor]
    gold: Mapping[str, Tensor]

    def raw(self, weights: Mapping[str, float]) -> Tensor:
        """Weighted sum of rewards, [prompts, samples]."""
        return torch.stack([weights[name] * reward for name, reward in self.rewards.items()]).sum(0)

    def lsc(self) -> Tensor:
        """Sum of log-sigmoids of centred rewards, [prompts, samples]."""
        parts = [log_sigmoid(reward, self.references[name]) for name, reward in self.rewards.items()]
        return torch.stack(parts).sum(0)


def load_cached(config: RunConfig, split: str) -> Cached:
    """The cached samples of a split, references as the config's properties define them."""
    folder = RunFolder(config.base_folder).references
    rows = pq.read_table(folder / SAMPLES, filters=[("split", "=", split)]).to_pandas()
    rows = rows.sort_values(["prompt_id", "sample"], kind="stable")
    prompt_ids = list(rows["prompt_id"].drop_duplicates())
    table = ReferenceTable.load(folder)

    def grid(column: str) -> Tensor:
        return torch.tensor(rows[column].to_numpy().reshape(len(prompt_ids), -1), dtype=torch.float64)

    def references(name: str) -> Tensor:
        values = table.reference_values(name, config.properties[name].reference, prompt_ids)
        return torch.tensor([values[prompt] for prompt in prompt_ids], dtype=torch.float64)

    return Cached(
        rewards={name: grid(f"reward.{name}") for name in config.properties},
        references={name: references(name) for name in config.properties},
        gold={name: grid(f"gold.{name}") for name in config.properties},
    )


def study_arms(config: RunConfig, targets: Sequence[float]) -> list[tuple[Arm, float]]:
    """Every arm of one world with its target KL: LSC sum, raw sum, tuned raw sum; with shortcuts also LSC at 85 %."""
    alignment, validation = load_cached(config, "alignment"), load_cached(config, "validation")
    arms = []
    for target in targets:
        equal = dict.fromkeys(config.properties, 1.0)
        tuned = tuned_weights(config, validation, target)
        arms += [
            (lsc_sum_arm(config, solve_gamma(alignment.lsc(), target)), target),
            (raw_sum_arm(config, solve_gamma(alignment.raw(equal), target)), target),
            (raw_sum_arm(config, solve_gamma(alignment.raw(tuned), target), weights=tuned), target),
        ]
    assert config.world is not None
    return arms + (_quantile_arms(config, targets) if config.world.shortcut_strength else [])


def _quantile_arms(config: RunConfig, targets: Sequence[float]) -> list[tuple[Arm, float]]:
    """LSC sum with both properties at the 85 % quantile. One of the two kinds of world is enough for this question."""
    quantile = with_quantile_references(config)
    utilities = load_cached(quantile, "alignment").lsc()
    return [(lsc_sum_arm(quantile, solve_gamma(utilities, target), label="lsc_sum_q85"), target) for target in targets]


def with_quantile_references(config: RunConfig) -> RunConfig:
    """The same run with every property at its 85 % quantile."""
    properties = {
        name: setting.model_copy(update={"reference": QuantileReference()})
        for name, setting in config.properties.items()
    }
    return config.model_copy(update={"properties": properties})


def tuned_weights(config: RunConfig, cached: Cached, target_kl: float) -> dict[str, float]:
    """The raw sum's weights with the highest predicted gold both-good rate at `target_kl`, by tilting."""
    gold = gold_of(config)
    assert gold is not None
    good = torch.stack([cached.gold[name] >= bar for name, bar in gold.bars.items()]).all(0).double()
    first, second = config.properties

    def predicted(ratio: float) -> float:
        utilities = cached.raw({first: ratio**0.5, second: ratio**-0.5})
        return float(tilt(utilities, solve_gamma(utilities, target_kl)).expect(good).mean())

    best = max(RATIOS, key=predicted)
    return {first: best**0.5, second: best**-0.5}


def results_path(folder: Path, seed: int, shortcuts: bool) -> Path:
    """Where the numbers of one world lie."""
    return folder / f"seed_{seed}_{'on' if shortcuts else 'off'}.json"
