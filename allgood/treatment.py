"""What a run makes of raw rewards: margins and utilities, by the same code wherever rewards are.

The reward worker applies a treatment to what it has just scored, preview and evaluation to rewards that were kept; the
numbers are the same bits, because both call `treat`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood.errors import ConfigError, ReferenceTableError, RoleError
from allgood.named_transforms import Anchors, NamedTransform, named

FloatRow = NDArray[np.float32]
FloatGrid = NDArray[np.float32]


@dataclass(frozen=True)
class Treatment:
    """What a run makes of raw rewards: u = transform of (r, r_ref) / temperature.

    Everything is in the units of the raw reward. `references` is one number for every prompt, or one per prompt id;
    `draws` are rewards of SFT responses per prompt id, as many for each; `moments` are mean and standard deviation over
    all SFT samples. `options` are keyword arguments of the transform.
    """

    key: str
    transform: str
    references: float | Mapping[str, float]
    temperature: float = 1.0
    options: Mapping[str, float] = field(default_factory=dict)
    draws: Mapping[str, FloatRow] | None = None
    moments: tuple[float, float] | None = None


@dataclass(frozen=True)
class Treated:
    """[prompts, samples] float32 each; NaN in all of them where the reward (or the prompt's reference) is NaN."""

    references: FloatGrid
    margins: FloatGrid
    utilities: FloatGrid


def transform_of(treatment: Treatment, property_name: str) -> NamedTransform:
    """The transform of a treatment.

    Raises:
        ConfigError: There is no such transform or option, or the temperature is not above 0.
    """
    if not treatment.temperature > 0:
        raise ConfigError(f"temperature {treatment.temperature} of property {property_name!r} must be above 0")
    try:
        return named(treatment.transform).with_options(treatment.options)
    except ValueError as error:
        raise ConfigError(f"property {property_name!r}: {error}") from error


def require_references(treatment: Treatment, prompt_ids: Sequence[str], property_name: str) -> None:
    """ReferenceTableError when a prompt has no reference: known before anything is scored."""
    for known in (treatment.references, treatment.draws):
        missing = [prompt_id for prompt_id in prompt_ids if isinstance(known, Mapping) and prompt_id not in known]
        if missing:
            raise ReferenceTableError(
                f"no reference of property {property_name!r} for prompt {missing[0]!r} ({len(missing)} of "
                f"{len(prompt_ids)} prompts lack one); build the table with `allgood reference`"
            )


def treat(treatment: Treatment, rewards: FloatGrid, prompt_ids: Sequence[str], *, property_name: str) -> Treated:
    """References, margins and utilities of raw rewards [prompts, samples]; NaN = failed.

    Raises:
        ConfigError: As in `transform_of`.
        ReferenceTableError: A prompt has no reference.
        RoleError: The transform refuses the rewards.
    """
    transform = transform_of(treatment, property_name)
    require_references(treatment, prompt_ids, property_name)
    references = _per_prompt(treatment.references, prompt_ids)
    temperature = np.float32(treatment.temperature)
    missing = np.isnan(rewards) | np.isnan(references)[:, None]
    beside = np.where(missing, np.float32(np.nan), references[:, None])
    margins = ((rewards - beside) / temperature).astype(np.float32)
    if missing.all():
        return Treated(beside, margins, np.full_like(margins, np.nan))
    # The transforms refuse NaN: a reward that exists stands in, and its utility is removed again.
    known = np.where(missing, rewards[~missing][0], rewards)
    references = np.nan_to_num(references, nan=0.0)
    try:
        utilities = transform.utilities(
            torch.from_numpy(known / temperature), _anchors(treatment, references, prompt_ids)
        ).numpy()
    except ValueError as error:  # for example a "log-probability" above 0
        raise RoleError(
            f"transform {treatment.transform!r} refuses the rewards of property {property_name!r}: {error}"
        ) from error
    return Treated(beside, margins, np.where(missing, np.float32(np.nan), utilities).astype(np.float32))


def _anchors(treatment: Treatment, references: FloatRow, prompt_ids: Sequence[str]) -> Anchors:
    temperature = np.float32(treatment.temperature)
    draws: Tensor | None = None
    if treatment.draws is not None:
        stacked = np.stack([treatment.draws[prompt_id] for prompt_id in prompt_ids]).astype(np.float32)
        draws = torch.from_numpy(stacked / temperature)
    moments = treatment.moments
    if moments is not None:
        moments = (moments[0] / treatment.temperature, moments[1] / treatment.temperature)
    # [prompts, 1]: a user's own transform may simply subtract.
    return Anchors(torch.from_numpy(references / temperature).unsqueeze(-1), draws, moments)


def _per_prompt(references: float | Mapping[str, float], prompt_ids: Sequence[str]) -> FloatRow:
    """r_ref of each prompt, [prompts]."""
    if not isinstance(references, Mapping):
        return np.full(len(prompt_ids), references, dtype=np.float32)
    return np.array([references[prompt_id] for prompt_id in prompt_ids], dtype=np.float32)
