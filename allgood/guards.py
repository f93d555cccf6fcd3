"""Guards: they refuse what silently destroys the method, with the reason and what to do instead.

Nothing here fails by itself when left out; that is why the guards exist. Each has a test that shows the damage.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood.number_checks import Number
from allgood.transform_facts import FACTS, Expects

_SCALES = ("none", "batch_std", "group_std", "normalise_then_sum")
_EXPECTS: dict[str, Expects] = {transform.name: transform.expects for transform in FACTS}
_SCALE_MATTERS = frozenset(transform.name for transform in FACTS if transform.scale_matters)
_FEWEST_REWARDS = 32  # fewer rewards may all lie in [0, 1] by chance


def refuse_group_std(scale: str, transforms: Collection[str], *, kl_in_reward: bool) -> None:
    """Refuse to divide advantages by a standard deviation where that changes the method.

    A group's std erases how far the prompt is from good: a prompt on which all samples are nearly certain to be good
    gets the same advantages as one on which none is. Normalising each property before the sum even reverses the order
    (in the group A = 7, 6, 5, 4 and B = -3, -1, 0.5, 2 the only response good in both is pushed down). With the KL
    outside the advantages any division also changes gamma.

    Args:
        scale: What advantages are divided by: "none" (nothing), "batch_std" (one number for the batch), "group_std"
            (the std of the prompt's samples), "normalise_then_sum" (the same for each property before the sum).
        transforms: Names of the properties' transforms. One of your own (module:function) is taken for a
            log-probability, for nobody else can know: leave it out if it is none.
        kl_in_reward: Whether gamma * KL is subtracted before the division.

    Raises:
        ValueError: The combination is refused, or `scale` is unknown.
    """
    if scale not in _SCALES:
        raise ValueError(f"scale must be none, batch_std, group_std or normalise_then_sum, got {scale!r}")
    erased = sorted({name for name in transforms if name in _SCALE_MATTERS or ":" in name})
    if scale in ("group_std", "normalise_then_sum") and erased:
        raise ValueError(
            f"scale {scale!r} erases what the transform {', '.join(erased)} expresses, namely which "
            "prompts and properties are far from good; use RLOO, PPO, or GRPO without std (scale 'none')"
        )
    if scale != "none" and not kl_in_reward:
        raise ValueError(
            f"scale {scale!r} divides the utility but not the KL, which stands outside, so gamma silently changes with "
            "every batch; put the KL into the reward (k1) or use scale 'none'"
        )


def refuse_squashed_rewards(rewards: Tensor, *, transform: str) -> None:
    """Refuse rewards that look as if their server had already applied a sigmoid.

    sigma of a probability is between 0.50 and 0.73: every response looks alike and the method does nothing.

    Args:
        rewards: A sample of rewards as the server returns them, any shape; NaN (failed) is ignored. With fewer than 32
            there is no verdict.
        transform: Name of the transform; `log_prob` expects log-probabilities. `identity`, `z_score` and the calibrated
            ones take anything, a share in [0, 1] too: they apply no sigmoid. Nor is a user's own transform judged.

    Raises:
        ValueError: All rewards lie in [0, 1] although the transform expects logits, or some are above 0 although it
            expects log-probabilities.
    """
    known = rewards[~torch.isnan(rewards)]
    expects = _EXPECTS.get(transform, "anything")
    if expects == "log_probs" and known.numel() and bool((known > 0).any()):
        raise ValueError(
            f"rewards for transform {transform!r} must be log-probabilities, at most 0, but the largest is "
            f"{known.max().item()}"
        )
    if expects != "logits" or known.numel() < _FEWEST_REWARDS:
        return
    if bool(((known >= 0) & (known <= 1)).all()):
        raise ValueError(
            f"rewards all lie in [0, 1] ({known.numel()} of them, from {known.min().item():.4g} to "
            f"{known.max().item():.4g}), so the reward model seems to apply a sigmoid already, but transform "
            f"{transform!r} expects logits; make it return logits, or return log-probabilities and use transform "
            "'log_prob', or use 'identity' or 'z_score' for a reward that is neither"
        )


def refuse_default_rewards(rewards: Tensor, *, max_share: Number = 0.01) -> None:
    """Refuse rewards among which exact zeros are common: a failed score that was turned into 0.

    0 is the best value of a log-probability, so a timeout would count as certainly good. A real logit is hardly ever
    exactly 0.

    Args:
        rewards: Rewards as a server returns them, any shape.
        max_share: Largest share of exact zeros that is let through, in [0, 1].

    Raises:
        ValueError: More zeros than that, and more than one.
    """
    if not 0 <= max_share <= 1:
        raise ValueError(f"max_share must lie in [0, 1], got {max_share}")
    num_zeros = int((rewards == 0).sum())
    if num_zeros > 1 and num_zeros > max_share * rewards.numel():
        raise ValueError(
            f"rewards are exactly 0 for {num_zeros} of {rewards.numel()} responses; if 0 stands for a failed "
            "score, return NaN instead: 0 is the best utility, and a failure must never be; if it is a score like any "
            "other, a run may say so (zero_is_a_score of a function)"
        )


def kept_rows(utilities: NDArray[np.floating], groups: NDArray[np.integer]) -> NDArray[np.int64]:
    """Indices of the rows that an update may use: a finite utility, in a group with at least two such rows.

    A missing score (NaN or infinite) never becomes a number: as 0 it would be the best utility, as a mean it would be
    invented. So its row is dropped, and its prompt too where fewer than 2 samples are left, which have no baseline.

    Args:
        utilities: Combined utilities [rows], NaN where a needed score is missing.
        groups: Index of each row's prompt, [rows], from 0.

    Raises:
        ValueError: Shapes differ.

    >>> kept_rows(np.array([1.0, np.nan, 3.0, 4.0, np.nan]), np.array([0, 0, 0, 1, 1]))
    array([0, 2])
    """
    if utilities.shape != groups.shape or utilities.ndim != 1:
        raise ValueError(f"utilities and groups must both be [rows], got shapes {utilities.shape} and {groups.shape}")
    finite = np.isfinite(utilities)
    sizes = np.bincount(groups[finite], minlength=int(groups.max(initial=-1)) + 1)
    return np.flatnonzero(finite & (sizes[groups] >= 2))
