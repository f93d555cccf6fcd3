"""Efficiency: the share of the tilt's gain in utility, at the run's KL, that training reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from allgood.tilting import solve_gamma, tilt
from pipelines.config.run import RunConfig
from pipelines.data import load_prepared
from pipelines.evaluation.measure import FloatGrid
from pipelines.evaluation.scorers import treated
from pipelines.objective import combined_utility
from pipelines.prompt_order import prompts_of
from pipelines.reference_table import SAMPLES, ReferenceTable
from pipelines.run_folder import RunFolder
from pipelines.table_keys import temperature


@dataclass(frozen=True)
class Efficiency:
    """Gains are in nats of utility over the SFT policy, on validation prompts. `reliable` is the tilt's flag."""

    value: float
    achieved_gain: float
    tilt_gain: float
    kl: float  # the run's measured mean KL, nats
    gamma: float  # of the tilt with that KL
    reliable: bool
    num_prompts: int
    num_samples: int


def efficiency(config: RunConfig, validation: Mapping[str, Any]) -> Efficiency | str:
    """The efficiency of a run from its last validation and the cached SFT samples of the same prompts; or why not."""
    folder = RunFolder(config.base_folder).references
    if not (folder / SAMPLES).is_file():
        return f"there are no cached SFT samples in {folder}"
    utilities = sft_utilities(config)
    if not len(utilities):
        return "the cached SFT samples hold no validation prompts"
    if "utility.mean" not in validation or not validation["kl_k1_mean"] > 0:
        return "the run's KL on validation prompts is not above 0"
    return from_utilities(utilities, mean_utility=validation["utility.mean"], kl=validation["kl_k1_mean"])


def from_utilities(sft: FloatGrid, *, mean_utility: float, kl: float) -> Efficiency | str:
    """Efficiency from the utilities of SFT samples [prompts, samples] and a policy's mean utility and KL on them."""
    utilities = torch.from_numpy(sft)
    try:
        gamma = float(solve_gamma(utilities, kl))
    except ValueError:  # the only cause: utilities and KL were checked above
        return (
            f"{sft.shape[1]} samples per prompt cannot show the run's KL of {kl:.2f} nats; "
            "references.num_samples gives the tilt more"
        )
    tilted = tilt(utilities, gamma)
    baseline = float(sft.mean())
    possible, achieved = float(tilted.expect(utilities).mean()) - baseline, mean_utility - baseline
    return Efficiency(
        value=achieved / possible,
        achieved_gain=achieved,
        tilt_gain=possible,
        kl=kl,
        gamma=gamma,
        reliable=bool(tilted.reliable),
        num_prompts=sft.shape[0],
        num_samples=sft.shape[1],
    )


def sft_utilities(config: RunConfig) -> FloatGrid:
    """Combined utilities of the cached SFT samples on the run's validation prompts, [prompts, samples].

    Prompts with a failed score are left out: the tilt needs every sample of a prompt.
    """
    base = RunFolder(config.base_folder)
    prompts = prompts_of(config, load_prepared(base.data).prompts, "validation")[: config.align.max_evaluation_prompts]
    table = ReferenceTable.load(base.references)
    columns = pq.read_table(base.references / SAMPLES).to_pydict()
    rows_of: dict[str, list[int]] = {}
    for row, prompt_id in enumerate(columns["prompt_id"]):
        rows_of.setdefault(prompt_id, []).append(row)
    ids = [prompt.id for prompt in prompts if prompt.id in rows_of]
    rows = [row for prompt_id in ids for row in rows_of[prompt_id]]
    if not ids:
        return np.empty((0, 0))
    shape = (len(ids), len(rows_of[ids[0]]))
    scores = {}
    for name, setting in config.properties.items():
        rewards = np.array([columns[f"reward.{name}"][row] for row in rows], dtype=np.float64).reshape(shape)
        references = table.reference_values(name, setting.reference, ids)
        per_prompt = np.array([references[prompt_id] for prompt_id in ids])
        scores[name] = treated(name, setting, rewards, per_prompt, temperature=temperature(config, name))
    utility = combined_utility(
        config.objective, config.properties, missing_eos_penalty=config.align.missing_eos_penalty
    )
    utilities = utility(scores, tuple(columns["finish_reason"][row] for row in rows)).astype(np.float64).reshape(shape)
    return utilities[np.isfinite(utilities).all(axis=1)]
