"""What all adapters do alike: open the rewards, tell failed rows apart, name the numbers that trainers log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allgood.errors import ConfigError, DataError
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.all_good_scores import AllGoodScores

Source = str | Path | AllGoodScorer
"""Where rewards come from: what `AllGoodScorer.from_config` reads, or a scorer that is there already."""


def open_rewards(source: Source) -> AllGoodScorer:
    """The scorer of a folder, a `rewards.yaml`, or itself.

    Raises:
        AllgoodError: As in `AllGoodScorer.from_config`.
    """
    return source if isinstance(source, AllGoodScorer) else AllGoodScorer.from_config(source)


def rewards_or_none(scores: AllGoodScores) -> list[float | None]:
    """The utility of each row in nats, without KL; None where it failed.

    Raises:
        DataError: There are rows and all failed: the trainer would go on and learn nothing.
    """
    if len(scores.ok) and not scores.ok.any():
        reason = next(reason for reason in scores.reasons if reason is not None)
        raise DataError(f"none of {len(scores.ok)} responses has a reward; the first: {reason}")
    return [total if known else None for total, known in zip(scores.total.tolist(), scores.ok, strict=True)]


def logged_means(scores: AllGoodScores) -> dict[str, float]:
    """Means over the rows that have a value, under the names that every adapter logs.

    Per property `allgood/NAME/reward`, `.../margin`, `.../utility` and `.../p_good`, and of the whole
    `allgood/utility`, `allgood/p_all_good` (with a formula) and the share of failed rows, `allgood/failed`.
    """
    columns: dict[str, NDArray[np.floating] | None] = {
        "utility": scores.total,
        "p_all_good": scores.judged.p_all_good,
        "failed": (~scores.ok).astype(np.float32),
    }
    for name, view in scores.properties.items():
        columns |= {f"{name}/reward": view.rewards, f"{name}/margin": view.margins}
        columns |= {f"{name}/utility": view.utilities, f"{name}/p_good": view.p_good}
    means = {}
    for name, column in columns.items():
        known = column[np.isfinite(column)] if column is not None else np.empty(0)
        if known.size:
            means[f"allgood/{name}"] = float(known.mean())
    return means


def ends_cut(token_ids: Sequence[Sequence[int]], end_token_ids: Collection[int]) -> NDArray[np.bool_]:
    """Which responses ended at the length limit: those whose last token is no end token, [rows].

    >>> ends_cut([[5, 2], [5, 6], []], {2}).tolist()
    [False, True, True]
    """
    return np.array([not ids or ids[-1] not in end_token_ids for ids in token_ids], dtype=np.bool_)


def require_end_tokens(scorer: AllGoodScorer, end_token_ids: Collection[int]) -> None:
    """Refuse a penalty for cut answers where nobody could say which are cut.

    Raises:
        ConfigError: There is a penalty and no end token.
    """
    if scorer.spec.missing_eos_penalty and not end_token_ids:
        raise ConfigError(
            "missing_eos_penalty needs end_token_ids: the ids that end a response of your policy, such as the "
            "tokenizer's eos_token_id and those of the model's generation_config"
        )
