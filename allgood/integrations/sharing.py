"""What all adapters do alike: open the rewards, tell failed rows apart, name the numbers that trainers log."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allgood.errors import ConfigError, DataError
from allgood.guards import refuse_group_std
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.all_good_scores import AllGoodScores
from allgood.scorers.served_scorer import ServedScorer

Rewards = AllGoodScorer | ServedScorer
Source = str | Path | Rewards
"""Where rewards come from: what `AllGoodScorer.from_config` reads, the http address of an `allgood serve`, or a scorer
that is there already."""
TOKEN_VARIABLE = "ALLGOOD_SERVE_TOKEN"
"""The variable of the environment with the token of a service, if it has one."""


def open_rewards(source: Source) -> Rewards:
    """The scorer of a folder, a `rewards.yaml` or a service, or itself.

    Raises:
        AllgoodError: As in `AllGoodScorer.from_config` and `ServedScorer`.
    """
    if isinstance(source, AllGoodScorer | ServedScorer):
        return source
    if str(source).startswith(("http://", "https://")):
        return ServedScorer.at(str(source), token_env=TOKEN_VARIABLE if TOKEN_VARIABLE in os.environ else None)
    return AllGoodScorer.from_config(source)


@lru_cache
def opened(source: str) -> Rewards:
    """`open_rewards`, once per process: some trainers make an environment for each response."""
    return open_rewards(source)


def rewards_or_none(scores: AllGoodScores) -> list[float | None]:
    """The utility of each row in nats, without KL; None where it failed.

    Raises:
        DataError: There are rows and all failed: the trainer would go on and learn nothing.
    """
    if len(scores.ok) and not scores.ok.any():
        reason = next(reason for reason in scores.reasons if reason is not None)
        raise DataError(f"none of {len(scores.ok)} responses has a reward; the first: {reason}")
    return [total if known else None for total, known in zip(scores.total.tolist(), scores.ok, strict=True)]


def refuse_failed(scores: AllGoodScores, *, trainer: str) -> None:
    """For a trainer that knows no row without a reward.

    Raises:
        DataError: A row failed. The training stops: whatever number stood for it would be learned from.
    """
    reasons = [reason for reason in scores.reasons if reason is not None]
    if reasons:
        raise DataError(f"a response has no reward, and {trainer} cannot leave it out: {reasons[0]}")


def logged_rows(scores: AllGoodScores) -> list[dict[str, float]]:
    """What every adapter logs of each row, the same names for all; NaN where a value is missing.

    Per property `allgood/NAME/reward`, `.../margin`, `.../utility` and `.../p_good`, and of the whole
    `allgood/utility`, `allgood/p_all_good` (with a formula), and `allgood/failed`, 0 or 1.
    """
    columns = {name: column.tolist() for name, column in _columns(scores).items()}
    return [{name: float(column[row]) for name, column in columns.items()} for row in range(len(scores.ok))]


def logged_means(scores: AllGoodScores) -> dict[str, float]:
    """Means of `logged_rows` over the rows that have a value, NaN where none has."""
    return {name: _mean(column[np.isfinite(column)]) for name, column in _columns(scores).items()}


def _columns(scores: AllGoodScores) -> dict[str, NDArray[np.floating]]:
    columns: dict[str, NDArray[np.floating]] = {"utility": scores.total, "failed": (~scores.ok).astype(np.float32)}
    if scores.judged.p_all_good is not None:
        columns["p_all_good"] = scores.judged.p_all_good
    for name, view in scores.properties.items():
        columns |= {f"{name}/reward": view.rewards, f"{name}/margin": view.margins}
        columns |= {f"{name}/utility": view.utilities, f"{name}/p_good": view.p_good}
    return {f"allgood/{name}": column for name, column in columns.items()}


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if values.size else math.nan


def refuse_scale(scorer: Rewards, scale: str, *, kl_in_reward: bool, switch: str) -> None:
    """`guards.refuse_group_std` for these rewards.

    Raises:
        ConfigError: Begins with `switch`, the trainer's name for it and what to set instead.
    """
    try:
        refuse_group_std(scale, scorer.transforms, kl_in_reward=kl_in_reward)
    except ValueError as error:
        raise ConfigError(f"{switch}: {error}") from None


def warn_of(cautions: Iterable[str]) -> None:
    """Log what changes the meaning of gamma without breaking the method."""
    for caution in cautions:
        logging.getLogger("allgood.integrations").warning(caution)


def refuse_penalty(scorer: Rewards, *, trainer: str) -> None:
    """Refuse a penalty for cut answers in a trainer that does not say which answers were cut.

    Raises:
        ConfigError: There is a penalty.
    """
    if scorer.needs_was_cut:
        raise ConfigError(
            f"missing_eos_penalty of the rewards needs to know which answers were cut, and {trainer} does not tell; "
            "set it to 0 in rewards.yaml"
        )


def ends_cut(token_ids: Sequence[Sequence[int]], end_token_ids: Collection[int]) -> NDArray[np.bool_]:
    """Which responses ended at the length limit: those whose last token is no end token, [rows].

    >>> ends_cut([[5, 2], [5, 6], []], {2}).tolist()
    [False, True, True]
    """
    return np.array([not ids or ids[-1] not in end_token_ids for ids in token_ids], dtype=np.bool_)


def require_end_tokens(scorer: Rewards, end_token_ids: Collection[int]) -> None:
    """Refuse a penalty for cut answers where nobody could say which are cut.

    Raises:
        ConfigError: There is a penalty and no end token.
    """
    if scorer.needs_was_cut and not end_token_ids:
        raise ConfigError(
            "missing_eos_penalty needs end_token_ids: the ids that end a response of your policy, such as the "
            "tokenizer's eos_token_id and those of the model's generation_config"
        )
