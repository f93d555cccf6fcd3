"""Rows that somebody sent, read one by one: a row that cannot be read fails alone, with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from allgood.conversations import prompt_id
from allgood.scorers.policy_texts import PolicyTexts, Text
from allgood.scorers.scorer import Scored, Scorer

NOTHING = Scored(np.zeros(0, dtype=np.float32))
"""What a scorer finds for no rows."""


@dataclass(frozen=True)
class ReadRow:
    """A row as a run would hold it; what could not be read is None, and `reason` says why."""

    prompt: str | None
    response: str | None
    reason: str | None

    @property
    def prompt_id(self) -> str | None:
        """By which tables know the prompt."""
        return None if self.prompt is None else prompt_id(self.prompt)


@dataclass(frozen=True)
class ReadRows:
    """All rows of a call, in order, and how many distinct prompts among them could not be read."""

    rows: tuple[ReadRow, ...]
    num_unread_prompts: int

    @property
    def prompt_ids(self) -> tuple[str | None, ...]:
        """One per row."""
        return tuple(row.prompt_id for row in self.rows)

    @property
    def prompts(self) -> dict[str, str]:
        """The distinct prompts that could be read, text by id."""
        return {prompt_id(row.prompt): row.prompt for row in self.rows if row.prompt is not None}

    @property
    def readable(self) -> tuple[list[str], list[str]]:
        """Prompts and responses of the rows that could be read, as many."""
        texts = [(row.prompt or "", row.response or "") for row in self.rows if row.reason is None]
        return [prompt for prompt, _ in texts], [response for _, response in texts]

    def spread(self, found: Scored) -> Scored:
        """One reward per row from what a scorer found for the readable ones; the others have none."""
        readable = [index for index, row in enumerate(self.rows) if row.reason is None]
        rewards = np.full(len(self.rows), np.nan, dtype=np.float32)
        rewards[readable] = found.rewards
        reasons = {readable[index]: reason for index, reason in found.reasons.items()}
        return Scored(rewards, found.num_prompts_cut, reasons)

    def scored(self, scorer: Scorer) -> Scored:
        """One reward per row; the rows that could not be read have none, and the scorer does not see them."""
        prompts, responses = self.readable
        return self.spread(scorer.score(prompts, responses) if prompts else NOTHING)


def read_rows(texts: PolicyTexts, prompts: Sequence[Text], responses: Sequence[Text]) -> ReadRows:
    """Read prompts and the responses to them, as many."""
    rows = [_read(texts, prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
    unread = {repr(prompt) for prompt, row in zip(prompts, rows, strict=True) if row.prompt is None}
    return ReadRows(tuple(rows), len(unread))


def _read(texts: PolicyTexts, prompt: Text, response: Text) -> ReadRow:
    read_prompt = None
    try:
        read_prompt = texts.prompt(prompt)
        return ReadRow(read_prompt, texts.response(response), None)
    except ValueError as error:
        return ReadRow(read_prompt, None, str(error))
