"""What is made of one property's raw rewards: margins, utilities and P(good), by the same code wherever rewards are.

The reward worker applies a treatment to what it has just scored, preview and evaluation to rewards that were kept; the
numbers are the same bits, because both call `treat`. `allgood.all_good` does it for all properties and combines them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood.errors import ConfigError, ReferenceTableError, RoleError
from allgood.named_transforms import Anchors, NamedTransform, named
from allgood.transform_facts import TransformFacts, facts_of
from allgood.views import GoodFrom, PropertyView

FloatRow = NDArray[np.float32]
FloatGrid = NDArray[np.float32]

_ROUNDING = 1e-6  # of a log P that was computed as the logarithm of a sum


@dataclass(frozen=True)
class Treatment:
    """What a run makes of raw rewards: u = transform of (r, r_ref) / temperature.

    Everything is in the units of the raw reward. `references` is one number for every prompt, or one per prompt id;
    `draws` are rewards of pi_0 samples per prompt id, as many for each; `moments` are mean and standard deviation over
    all pi_0 samples. `options` are keyword arguments of the transform. `good_from` says where P(good) is read, if it is
    not where the transform's name says: "rounded_log_prob" or "log_prob" of a user's own function that gives log
    P(good), and "log_prob" of a scorer that computes log P in log space, as a classifier here does. `key` tells the
    treatments of a reward worker apart.
    """

    key: str = ""
    transform: str = "log_sigmoid"
    references: float | Mapping[str, float] = 0.0
    temperature: float = 1.0
    options: Mapping[str, float] = field(default_factory=dict)
    draws: Mapping[str, FloatRow] | None = None
    moments: tuple[float, float] | None = None
    good_from: GoodFrom | None = None

    @property
    def facts(self) -> TransformFacts:
        """What is known of the transform; a user's own gives log P(good) where `good_from` says so."""
        facts = facts_of(self.transform)
        return replace(facts, is_log_prob=facts.is_log_prob or self.good_from not in (None, "margin"))


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
    """ReferenceTableError when a prompt has no reference: known before anything is scored.

    A prompt whose reference is NaN is known to have none; its responses get no utility.
    """
    missing = [prompt_id for prompt_id in prompt_ids if not _has_reference(treatment, prompt_id)]
    if missing:
        raise ReferenceTableError(
            f"no reference of property {property_name!r} for prompt {missing[0]!r} ({len(missing)} of "
            f"{len(prompt_ids)} prompts lack one); build the table with `allgood reference`"
        )


def _has_reference(treatment: Treatment, prompt_id: str) -> bool:
    references = treatment.references
    if not isinstance(references, Mapping):
        return treatment.draws is None or prompt_id in treatment.draws
    if prompt_id not in references:
        return False
    return treatment.draws is None or prompt_id in treatment.draws or math.isnan(references[prompt_id])


def treat(treatment: Treatment, rewards: FloatGrid, prompt_ids: Sequence[str], *, property_name: str) -> PropertyView:
    """A property's view of its raw rewards [prompts, samples]; NaN = failed, or the prompt's reference is NaN.

    Raises:
        ConfigError: As in `transform_of`.
        ReferenceTableError: A prompt has no reference.
        RoleError: The transform refuses the rewards, or gives a log P(good) above 0.
    """
    transform = transform_of(treatment, property_name)
    require_references(treatment, prompt_ids, property_name)
    references = _per_prompt(treatment.references, prompt_ids)
    temperature = np.float32(treatment.temperature)
    missing = np.isnan(rewards) | np.isnan(references)[:, None]
    per_row = np.where(missing, np.float32(np.nan), references[:, None])
    margins = ((rewards - per_row) / temperature).astype(np.float32)
    good_from = treatment.good_from or transform.facts.good_from
    if missing.all():
        return PropertyView(rewards, per_row, margins, np.full_like(margins, np.nan), good_from)
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
    utilities = np.where(missing, np.float32(np.nan), utilities).astype(np.float32)
    if good_from != "margin":
        _refuse_above_certainty(utilities[~missing], treatment.transform, property_name)
    return PropertyView(rewards, per_row, margins, utilities, good_from)


def _refuse_above_certainty(log_probs: FloatRow, transform: str, property_name: str) -> None:
    if log_probs.max() > _ROUNDING:  # only a user's own transform can
        raise RoleError(
            f"transform {transform!r} of property {property_name!r} is declared is_log_prob, but gives "
            f"{log_probs.max():.4g}; log P(good) is at most 0: set is_log_prob: false, or fix the function"
        )


def _anchors(treatment: Treatment, references: FloatRow, prompt_ids: Sequence[str]) -> Anchors:
    temperature = np.float32(treatment.temperature)
    draws: Tensor | None = None
    if treatment.draws is not None:
        stand_in = next(iter(treatment.draws.values()))  # of a prompt without reference, whose utilities are removed
        stacked = np.stack([treatment.draws.get(prompt_id, stand_in) for prompt_id in prompt_ids]).astype(np.float32)
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
