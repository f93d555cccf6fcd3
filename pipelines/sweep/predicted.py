"""What each setting's optimum is worth without training: tilting of the cached pi_0 samples on validation prompts.

The achieved points of a sweep are laid over these. Where training fell short of its prediction, more steps or another
learning rate may help; where the prediction itself is poor, only another objective will.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from allgood.errors import ConfigError, DataError
from allgood.opponents import weighted_win_rate, win_shares
from allgood.tilting import tilt
from pipelines.config.loading import changed_config
from pipelines.config.run import RunConfig
from pipelines.config.sweep_loading import override_text
from pipelines.data import load_prepared
from pipelines.data.prompt_order import prompts_of
from pipelines.objective.guards import tilt_notice
from pipelines.references.cached_samples import CachedSamples, cached_utilities, load_cached_samples
from pipelines.references.table import ReferenceTable
from pipelines.run.folder import RunFolder
from pipelines.sweep.judge import judged_properties
from pipelines.sweep.results import Setting
from pipelines.sweep.score import Source


@dataclass(frozen=True)
class Predicted:
    """The tilt of one setting. `reliable` is false where the samples cannot show that much KL."""

    kl: float
    win_rate: float
    reliable: bool
    num_prompts: int
    num_samples: int


def predictions(run: RunConfig, settings: Sequence[Setting], source: Source) -> dict[str, Predicted | str]:
    """By setting: its prediction, or why there is none."""
    base = RunFolder(run.base_folder)
    validation = prompts_of(run, load_prepared(base.data).prompts, "validation")[: run.align.max_evaluation_prompts]
    cached = load_cached_samples(run, "validation", prompt_ids=[prompt.id for prompt in validation])
    table = ReferenceTable.load(base.references)
    scores = cached.gold if source == "gold" else cached.evaluators
    contest = Contest.of({name: scores[name] for name in judged_properties(run, source)})
    return {setting.name: _prediction(_config(run, setting), cached, table, contest) for setting in settings}


@dataclass(frozen=True)
class Contest:
    """Who wins among the samples of a prompt, by whoever judges; the same for all settings.

    `shares` is [prompts, samples, properties, folds], of the prompts that are `judged`: those with every score.
    """

    judged: Tensor
    shares: Tensor

    @staticmethod
    def of(scores: Mapping[str, Tensor]) -> Contest:
        """Compare the samples of every prompt, per property [prompts, samples].

        Raises:
            DataError: No prompt has every score.
        """
        judged = torch.stack([torch.isfinite(grid).all(-1) for grid in scores.values()]).all(0)
        if not judged.any():
            raise DataError("every validation prompt has a cached sample that whoever judges could not score")
        return Contest(judged, torch.stack([win_shares(grid[judged]) for grid in scores.values()], dim=2))


def predicted(utilities: Tensor, coefficient: float, contest: Contest) -> Predicted:
    """The tilt at a KL coefficient: its KL, and its win rate against opponents that have no part in its weights.

    Raises:
        DataError: No prompt has every score.
    """
    utilities = utilities[contest.judged]
    known = torch.isfinite(utilities).all(-1)  # the tilt needs every sample of a prompt
    if not known.any():
        raise DataError("every validation prompt has a cached sample without a utility")
    tilted = tilt(utilities[known], coefficient)
    return Predicted(
        kl=float(tilted.kl.mean()),
        win_rate=float(weighted_win_rate(tilted.weights, contest.shares[known]).mean()),
        reliable=tilted.reliable,
        num_prompts=int(known.sum()),
        num_samples=utilities.shape[1],
    )


def _config(run: RunConfig, setting: Setting) -> RunConfig:
    return changed_config(run, [override_text(key, value) for key, value in setting.changes.items()])


def _prediction(config: RunConfig, cached: CachedSamples, table: ReferenceTable, contest: Contest) -> Predicted | str:
    reason = tilt_notice(config)
    if reason is not None:
        return reason
    try:
        return predicted(cached_utilities(config, cached, table), config.kl.coefficient, contest)
    except (ConfigError, DataError) as error:  # such as an advantage rule, which has no utility to tilt with
        return str(error)


def rank_correlation(predicted: Mapping[str, Predicted | str], settings: Sequence[Setting]) -> float | None:
    """Spearman's correlation of predicted and achieved win rates; None below 3 settings or without spread.

    Over settings of different KL coefficients it mostly says that more KL wins more.
    """
    from scipy.stats import rankdata

    pairs = [
        (found.win_rate, setting.validation["win_rate"].value)
        for setting in settings
        if isinstance(found := predicted[setting.name], Predicted)
    ]
    if len(pairs) < 3:
        return None
    first, second = (rankdata(values) for values in zip(*pairs, strict=True))
    if np.std(first) == 0 or np.std(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])
