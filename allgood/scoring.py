"""Scoring responses: texts in, one reward per response out.

A scorer knows nothing about reinforcement learning, Ray or files. `ModelScorer` asks a sequence classifier (whoever
loads it hands over how it encodes and computes), `FunctionScorer` a Python function. Rewards are float32; a reward that
could not be computed is NaN, never a number: after the log-sigmoid 0 is the best utility there is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from allgood.batching import token_budget_batches
from allgood.errors import ConfigError, RoleError

RewardFunction = Callable[[Sequence[str], Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class Encoding:
    """A conversation as token ids, and whether its prompt was cut from the left."""

    tokens: Sequence[int]
    cut: bool


Encode = Callable[[Sequence[tuple[str, str]]], Sequence[Encoding | None]]
"""(prompt, response) pairs -> tokens as the model wants them; None where the response alone does not fit."""

Logits = Callable[[Tensor, Tensor | None], Tensor]
"""Token ids [rows, tokens] int64 on the CPU and their attention mask (None: all real) -> logits [rows, labels]."""


@dataclass(frozen=True)
class Scored:
    """One reward per response, [responses] float32, NaN where scoring failed."""

    rewards: NDArray[np.float32]
    num_prompts_cut: int = 0


class Scorer(Protocol):
    """Anything that gives responses a reward."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """Rewards of responses to prompts; row i is `responses[i]` to `prompts[i]`."""
        ...


class ModelScorer:
    """A sequence classifier as a scorer: its single logit, or with `label` the log-probability of that label.

    Rows of different length are padded with `pad_token`. Without one (a causal classifier that cannot tell where a row
    ends) each row goes alone.
    """

    def __init__(
        self,
        logits: Logits,
        encode: Encode,
        *,
        pad_token: int | None,
        label: int | None = None,
        micro_batch_tokens: int = 16_384,
    ) -> None:
        self._logits = logits
        self._encode = encode
        self._pad_token = pad_token
        self._label = label
        self._micro_batch_tokens = micro_batch_tokens

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `Scorer.score`. A response that does not fit the model is NaN."""
        rewards, fitting = self._encoded(prompts, responses)
        rows, encodings = list(fitting), list(fitting.values())
        for batch in self._batches([len(encoding.tokens) for encoding in encodings]):
            rewards[[rows[i] for i in batch]] = self._forward([encodings[i].tokens for i in batch])
        return Scored(_finite(rewards), num_prompts_cut=sum(encoding.cut for encoding in encodings))

    def score_one_by_one(self, prompts: Sequence[str], responses: Sequence[str]) -> NDArray[np.float32]:
        """The same rewards with each conversation alone, unpadded and without a mask, [responses]."""
        rewards, fitting = self._encoded(prompts, responses)
        with torch.inference_mode():
            for row, encoding in fitting.items():
                rewards[row] = self._reward(self._logits(torch.tensor([list(encoding.tokens)]), None)).item()
        return _finite(rewards)

    def _encoded(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> tuple[NDArray[np.float32], dict[int, Encoding]]:
        """Room for the rewards, all NaN, and the encodings of the rows that fit."""
        encodings = self._encode(list(zip(prompts, responses, strict=True)))
        fitting = {row: encoding for row, encoding in enumerate(encodings) if encoding is not None}
        return np.full(len(responses), np.nan, dtype=np.float32), fitting

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        if self._pad_token is None:
            return [[row] for row in range(len(lengths))]
        return token_budget_batches(lengths, max_tokens=self._micro_batch_tokens)

    @torch.inference_mode()
    def _forward(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Rewards of one micro-batch, [rows]."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self._pad_token or 0, dtype=torch.int64)
        mask = torch.zeros(len(rows), width, dtype=torch.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return self._reward(self._logits(ids, mask)).cpu().numpy()

    def _reward(self, logits: Tensor) -> Tensor:
        """Rewards from logits [rows, labels]."""
        logits = logits.float()
        if self._label is None:
            return logits[:, 0]
        # log-softmax rounds log P to 0 from log-odds of 17 up; this keeps it, and with it log P(not good), up to 88.
        others = torch.arange(logits.shape[1], device=logits.device) != self._label
        odds = logits[:, self._label] - logits[:, others].logsumexp(-1)
        return logsigmoid(odds).where(odds.isfinite(), torch.nan)  # an infinite logit is a failure, not certainty


class FunctionScorer:
    """A Python function as a scorer. It may return NaN for a response that it cannot judge."""

    def __init__(self, function: RewardFunction, *, name: str) -> None:
        self._function = function
        self._name = name

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `Scorer.score`.

        Raises:
            RoleError: The function raised, or did not return one number per response.
        """
        try:
            rewards = np.asarray(self._function(list(prompts), list(responses)), dtype=np.float32)
        except Exception as error:  # whatever a user's function raises becomes one sentence with its name
            raise RoleError(
                f"reward function {self._name!r} failed on {len(responses)} responses: {error!r}"
            ) from error
        if rewards.shape != (len(responses),):
            raise RoleError(
                f"reward function {self._name!r} returned shape {rewards.shape} for {len(responses)} responses; "
                "it must return one number per response"
            )
        return Scored(_finite(rewards))


def load_function(path: str) -> RewardFunction:
    """The function called `module:function`.

    Raises:
        ConfigError: The path has another form, the module cannot be imported, or has no such function.
    """
    module_name, separator, name = path.partition(":")
    if not separator or not module_name or not name:
        raise ConfigError(f"reward function {path!r} must have the form 'module:function'")
    try:
        target: object = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"reward function {path!r}: module {module_name!r} cannot be imported ({error})") from error
    for part in name.split("."):
        if part not in dir(target):
            raise ConfigError(f"reward function {path!r}: {module_name!r} has no {name!r}")
        target = getattr(target, part)
    if not callable(target):
        raise ConfigError(f"reward function {path!r} is not callable")
    return target


def _finite(rewards: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rewards with infinity turned into NaN: both mean that scoring failed."""
    return np.where(np.isfinite(rewards), rewards, np.float32(np.nan))
