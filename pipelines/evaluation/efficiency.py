"""Efficiency: the share of the tilt's gain in utility, at the run's KL, that training reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from allgood.errors import ReferenceTableError
from allgood.tilting import solve_gamma, tilt
from pipelines.config.objectives import LagrangianObjective, NormaliseThenSumObjective, Objective
from pipelines.config.run import RunConfig
from pipelines.data import Prompt, load_prepared
from pipelines.data.prompt_order import prompts_of, run_prompts
from pipelines.evaluation.measure import FloatGrid
from pipelines.references.cached_samples import cached_utilities, load_cached_samples
from pipelines.references.table import SAMPLES
from pipelines.references.treatments import run_table
from pipelines.run.folder import RunFolder


@dataclass(frozen=True)
class Efficiency:
    """Gains are in nats of utility over the start policy, on validation prompts. `reliable` is the tilt's flag."""

    value: float
    achieved_gain: float
    tilt_gain: float
    kl: float  # the run's measured mean KL, nats
    gamma: float  # of the tilt with that KL
    reliable: bool
    num_prompts: int
    num_samples: int


def efficiency(config: RunConfig, validation: Mapping[str, Any]) -> Efficiency | str:
    """The efficiency of a run from its last validation and the cached pi_0 samples of the same prompts; or why not."""
    reason = _without_one_utility(config.objective)
    if reason is not None:
        return reason
    folder = RunFolder(config.base_folder).references
    if not (folder / SAMPLES).is_file():
        return f"there are no cached samples of the start policy in {folder}"
    prompts = load_prepared(RunFolder(config.base_folder).data).prompts
    validated = run_prompts(config, prompts, "validation")[: config.align.max_evaluation_prompts]
    sampled = _sampled(config, prompts)
    if len(sampled) < len(validated):
        return (
            f"the run was validated on {len(validated)} prompts, of which {len(sampled)} have cached samples; "
            "raise references.max_prompts.validation"
        )
    try:
        utilities = _utilities_on(config, sampled)
    except ReferenceTableError as error:
        return str(error)
    if not len(utilities):
        return "the cached samples hold no validation prompts"
    if "utility.mean" not in validation or not validation["kl_k1_mean"] > 0:
        return "the run's KL on validation prompts is not above 0"
    return from_utilities(utilities, mean_utility=validation["utility.mean"], kl=validation["kl_k1_mean"])


def _without_one_utility(objective: Objective) -> str | None:
    """Why the trained policy and the pi_0 samples cannot be measured in the same utility; None where they can."""
    match objective:
        case LagrangianObjective():
            return (
                "objective.kind lagrangian learns its multipliers: validation has those of its step, the cached "
                "samples the initial ones, so their utilities are not the same"
            )
        case NormaliseThenSumObjective():
            return "objective.kind normalise_then_sum is a rule for advantages and has no utility"
        case _:
            return None


def from_utilities(sft: FloatGrid, *, mean_utility: float, kl: float) -> Efficiency | str:
    """Efficiency from the utilities of pi_0 samples [prompts, samples] and a policy's mean utility and KL on them."""
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
    """Combined utilities of the cached pi_0 samples on the run's validation prompts, [prompts, samples].

    Prompts with a failed score are left out: the tilt needs every sample of a prompt.
    """
    return _utilities_on(config, _sampled(config, load_prepared(RunFolder(config.base_folder).data).prompts))


def _sampled(config: RunConfig, prompts: Sequence[Prompt]) -> list[Prompt]:
    return prompts_of(config, prompts, "validation")[: config.align.max_evaluation_prompts]


def _utilities_on(config: RunConfig, prompts: Sequence[Prompt]) -> FloatGrid:
    cached = load_cached_samples(config, "validation", prompt_ids=[prompt.id for prompt in prompts])
    utilities: FloatGrid = cached_utilities(config, cached, run_table(config)).numpy()
    return utilities[np.isfinite(utilities).all(axis=1)]
