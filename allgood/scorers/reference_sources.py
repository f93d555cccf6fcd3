"""Where the reference point of a prompt comes from: sources that are asked one after the other until one knows it.

A table knows the prompts that a run sampled. For others a property's canned replies can be scored, a head can predict,
samples of pi_0 can be drawn by whoever has a policy, and a declared fallback stands for what is left. Which one it was
is part of the answer; without any, the row has no utility.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch

from allgood.errors import ModelError, ReferenceTableError
from allgood.reference_head import ReferenceHead
from allgood.scorers.prompt_features import Features, load_features
from allgood.scorers.reference_files import References, load_head, load_references
from allgood.scorers.rewards_spec import PropertySpec, ReferenceFrom
from allgood.scorers.scorer import Scorer

_REMEMBERED = 65_536  # prompts; a reference costs a pass of a model


@runtime_checkable
class ReferenceSource(Protocol):
    """Anything that knows references of prompts. `name` is what answers call it."""

    @property
    def name(self) -> ReferenceFrom:
        """Such as "samples"."""
        ...

    def find(self, prompts: Mapping[str, str]) -> References:
        """References of prompts (text by id), raw; what it does not know is left out."""
        ...


def sources_of(
    setting: PropertySpec,
    scorer: Scorer,
    *,
    samples: ReferenceSource | None = None,
    features: Features | None = None,
) -> list[ReferenceSource]:
    """The sources of a property's references in the order of asking.

    `samples` is somebody's source of fresh ones, and `features` who computes what a predictor reads of prompts; absent,
    its model is loaded.

    Raises:
        ReferenceTableError: A file is missing or damaged, or its table lacks what the transform needs.
        ModelError: What a predictor stands on cannot be loaded.
    """
    reference = setting.reference
    if reference.constant is not None:
        return [OneNumber("constant", reference.constant)]
    sources: list[ReferenceSource] = []
    if reference.table is not None:
        table = load_references(reference.table)
        if setting.facts.needs == "draws" and not table.draws:
            raise ReferenceTableError(
                f"{reference.table} has no samples of pi_0, with which transform {setting.transform} compares; export "
                "the rewards again"
            )
        sources.append(FromTable(table))
    if reference.replies:
        sources.append(FromReplies(scorer, reference.replies))
    if reference.predictor is not None:
        if features is None:
            features = load_features(setting.scorer, reference.predictor.encoder)
        sources.append(FromPredictor(features, load_head(reference.predictor.file), reference.predictor.quantile))
    if samples is not None:
        sources.append(samples)
    return sources if reference.fallback is None else [*sources, OneNumber("fallback", reference.fallback)]


def find_references(
    sources: Sequence[ReferenceSource], prompts: Mapping[str, str]
) -> tuple[References, dict[str, ReferenceFrom]]:
    """References of prompts (text by id) by the first source that knows each, and which one that was.

    A prompt that nobody knows has reference NaN, from "nowhere".
    """
    values: dict[str, float] = {}
    draws: dict[str, np.ndarray] = {}
    found_by: dict[str, ReferenceFrom] = {}
    for source in sources:
        left = {key: text for key, text in prompts.items() if key not in values}
        if not left:
            break
        found = source.find(left)
        known = {key: value for key, value in found.values.items() if key in left and np.isfinite(value)}
        values |= known
        draws |= {key: found.draws[key] for key in known if key in found.draws}
        found_by |= dict.fromkeys(known, source.name)
    nowhere = {key: float("nan") for key in prompts if key not in values}
    return References(values | nowhere, draws), found_by | dict.fromkeys(nowhere, "nowhere")


class FromTable:
    """References of the prompts that a run sampled."""

    name: ClassVar[ReferenceFrom] = "table"

    def __init__(self, table: References) -> None:
        self._table = table

    def find(self, prompts: Mapping[str, str]) -> References:
        """See `ReferenceSource.find`."""
        known = [key for key in prompts if key in self._table.values]
        draws = {key: self._table.draws[key] for key in known} if self._table.draws else {}
        return References({key: self._table.values[key] for key in known}, draws)


class FromReplies:
    """The mean reward of fixed replies to the prompt, as far as they can be scored."""

    name: ClassVar[ReferenceFrom] = "replies"

    def __init__(self, scorer: Scorer, replies: Sequence[str]) -> None:
        self._scorer = scorer
        self._replies = tuple(replies)
        self._mean = lru_cache(_REMEMBERED)(self._mean_of)

    def find(self, prompts: Mapping[str, str]) -> References:
        """See `ReferenceSource.find`."""
        return References({key: self._mean(text) for key, text in prompts.items()})

    def _mean_of(self, prompt: str) -> float:
        rewards = self._scorer.score([prompt] * len(self._replies), list(self._replies)).rewards
        known = rewards[np.isfinite(rewards)]
        return float(known.mean(dtype=np.float64)) if len(known) else float("nan")


class FromPredictor:
    """A quantile of pi_0's rewards as a head predicts it from the prompt; no prompt depends on its neighbours."""

    name: ClassVar[ReferenceFrom] = "predictor"

    def __init__(self, features: Features, head: ReferenceHead, quantile: float) -> None:
        self._features = features
        self._head = head
        self._quantile = quantile
        self._lock = threading.Lock()
        self._predicted = lru_cache(_REMEMBERED)(self._predict)

    def find(self, prompts: Mapping[str, str]) -> References:
        """See `ReferenceSource.find`. A prompt of which nothing fits the model has none."""
        with self._lock:
            return References({key: self._predicted(text) for key, text in prompts.items()})

    def _predict(self, prompt: str) -> float:
        try:
            features = self._features([prompt])
        except ModelError:
            return float("nan")
        with torch.inference_mode():
            return float(self._head(torch.from_numpy(features)).quantile(self._quantile))


class OneNumber:
    """One declared number for every prompt, under the name that says why it is used."""

    def __init__(self, name: ReferenceFrom, value: float) -> None:
        self.name: ReferenceFrom = name
        self._value = value

    def find(self, prompts: Mapping[str, str]) -> References:
        """See `ReferenceSource.find`."""
        return References(dict.fromkeys(prompts, self._value))
