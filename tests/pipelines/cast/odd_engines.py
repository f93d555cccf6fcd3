"""Rollout and reference actors whose log-probs differ. In a module of their own, as workers import classes by name."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from actors.messages import Chunk, FloatRow, LogProbs, Rollout


class FixedRollouts:
    """A rollout actor that says whether its log-probs are exact, and reports the same one for every token."""

    LOGPROB: ClassVar[float] = -1.5

    def __init__(self, is_exact: bool) -> None:
        self._is_exact = is_exact

    def has_exact_logprobs(self) -> bool:
        return self._is_exact

    def generate(self, chunk: Chunk) -> Rollout:
        num_rows = len(chunk.prompts) * chunk.samples_per_prompt
        tokens = tuple(np.int32([7]) for _ in range(num_rows))
        logprobs = _rows(self.LOGPROB, num_rows)
        responses, reasons = ("yes",) * num_rows, ("eos",) * num_rows
        return Rollout(chunk, tokens[: len(chunk.prompts)], tokens, logprobs, logprobs, responses, reasons, 0, 0.0)


class FixedPolicy:
    """A reference policy that gives every token the same log-prob."""

    LOGPROB: ClassVar[float] = -0.25

    def logprobs(self, rollout: Rollout) -> LogProbs:
        return LogProbs(_rows(self.LOGPROB, len(rollout.response_tokens)), 0.0)


def _rows(value: float, num_rows: int) -> tuple[FloatRow, ...]:
    return tuple(np.float32([value]) for _ in range(num_rows))
