"""What is served, and whether it may be asked now: the state that all routes share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np

from allgood.errors import ReferenceTableError, RoleError
from allgood.scorers.all_good_scores import AllGoodScores
from allgood.scorers.policy_texts import Text
from pipelines.serve.metrics import Metrics
from pipelines.serve.objective import ServedObjective
from pipelines.serve.remote import BusyError
from pipelines.serve.settings import Limits

Status = Literal["loading", "ready", "draining"]
_RETRY_AFTER_S = 1


class RefusedError(Exception):
    """A request without an answer: HTTP status, one line for the client, and when to come back, if that helps."""

    def __init__(self, status: int, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class Service:
    """Objectives by name, filled when they are loaded, and the rows that are in work."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self.status: Status = "loading"
        self._objectives: dict[str, ServedObjective] = {}
        self._num_rows = 0

    def open(self, objectives: Mapping[str, ServedObjective]) -> None:
        """Answer requests from now on."""
        self._objectives = dict(objectives)
        self.status = "ready"

    def drain(self) -> None:
        """Refuse new requests; those in work end."""
        self.status = "draining"

    @property
    def objectives(self) -> Mapping[str, ServedObjective]:
        """All objectives.

        Raises:
            RefusedError: The service is not ready.
        """
        if self.status != "ready":
            why = "models are still loading" if self.status == "loading" else "the service is being stopped"
            raise RefusedError(503, why, retry_after_s=_RETRY_AFTER_S)
        return self._objectives

    def objective(self, name: str | None) -> tuple[str, ServedObjective]:
        """The objective of that name, the first where none is given, with its name.

        Raises:
            RefusedError: There is none, or the service is not ready.
        """
        objectives = self.objectives
        name = next(iter(objectives)) if name is None else name
        if name not in objectives:
            raise RefusedError(404, f"there is no objective {name!r}; there are: {', '.join(objectives)}")
        return name, objectives[name]

    async def score(
        self,
        name: str,
        prompts: Sequence[Text],
        responses: Sequence[Text],
        was_cut: Sequence[bool | None] | None = None,
    ) -> AllGoodScores:
        """Rows judged by an objective, within the limits.

        Raises:
            RefusedError: Why there is no answer.
        """
        _, objective = self.objective(name)
        self._refuse_large(prompts, responses)
        cut = _cut(was_cut, needed=objective.spec.missing_eos_penalty > 0)
        with self._in_work(len(prompts)):
            try:
                scores = await objective.score(prompts, responses, was_cut=cut)
            except BusyError as error:
                raise RefusedError(429, str(error), retry_after_s=_RETRY_AFTER_S) from error
            except (ValueError, ReferenceTableError) as error:
                raise RefusedError(422, one_line(error)) from error
            except RoleError as error:
                raise RefusedError(500, one_line(error)) from error
        self.metrics.count_rows(name, num_ok=int(scores.ok.sum()), num_failed=int((~scores.ok).sum()))
        return scores

    def _refuse_large(self, prompts: Sequence[Text], responses: Sequence[Text]) -> None:
        if len(prompts) > self.limits.rows:
            raise RefusedError(422, f"there are {len(prompts)} rows, and limits.rows is {self.limits.rows}; send fewer")
        for what, texts in (("prompt", prompts), ("response", responses)):
            for row, text in enumerate(texts):
                length = _num_characters(text)
                if length > self.limits.characters:
                    raise RefusedError(
                        422,
                        f"row {row}: `{what}` has {length} characters, but at most {self.limits.characters} are read",
                    )

    @contextmanager
    def _in_work(self, num_rows: int) -> Iterator[None]:
        if self._num_rows + num_rows > self.limits.waiting_rows:
            raise RefusedError(
                429, f"{self._num_rows} rows are waiting already; come back later", retry_after_s=_RETRY_AFTER_S
            )
        self._num_rows += num_rows
        self.metrics.rows_in_work.set(self._num_rows)
        try:
            yield
        finally:
            self._num_rows -= num_rows
            self.metrics.rows_in_work.set(self._num_rows)


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split())


def _cut(was_cut: Sequence[bool | None] | None, *, needed: bool) -> np.ndarray | None:
    known = [] if was_cut is None else [cut for cut in was_cut if cut is not None]
    if was_cut is None or not known:
        if needed:
            raise RefusedError(
                422, "the objective has a penalty for cut answers (missing_eos_penalty): say `was_cut` of every row"
            )
        return None
    if len(known) < len(was_cut):
        raise RefusedError(422, "`was_cut` is there for some rows only; say it of all, or of none")
    return np.array(known, dtype=np.bool_)


def _num_characters(text: Text) -> int:
    if isinstance(text, str):
        return len(text)
    return sum(len(str(message.get("content", ""))) for message in text)
