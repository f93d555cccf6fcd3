"""Passes that run out of memory: done once more in micro-batches of half the size.

What a backward pass that broke off has left, such as gradients of some layers, is thrown away with it: the work begins
anew. A gradient in smaller micro-batches is the same sum in another order, equal up to rounding and not to the bit.

Learners that share one policy compute together, so that one of them cannot begin anew: the others wait for it in the
middle of a pass. There all of them end, and go back to the last checkpoint (`halved_by_all`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch

from actors.faults import LearnerMemoryError
from actors.messages import Retry
from allgood.errors import AllgoodError, TrainingError, first_line

Result = TypeVar("Result")


class Bound(NamedTuple):
    """What a micro-batch is bounded by, and where users say how much."""

    unit: str
    key: str


PADDED_TOKENS = Bound("padded tokens", "align.micro_batch_tokens")
ROWS = Bound("rows", "training.micro_batch_size")

_REMEDY = f"a lower {PADDED_TOKENS.key}"
_OF_THE_CPU = ("not enough memory", "can't allocate memory")  # torch has no type for it there


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in the process's own memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_THE_CPU)


@contextmanager
def _without_memory(ending: Callable[[str], AllgoodError]) -> Iterator[None]:
    """What `ending` makes of the reason, in place of the error that an allocation failed with."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ending(first_line(error)) from error


def halved_once(
    work: Callable[[int], Result], *, size: int, retries: list[Retry], bound: Bound = PADDED_TOKENS
) -> Result:
    """What `work` makes in passes of at most `size`, or of half as much where memory does not suffice.

    Args:
        work: Does everything from the beginning, whatever an earlier call has left.
        size: Of the largest pass, in units of `bound`.
        retries: Takes note of a second call.
        bound: What `size` counts.

    Raises:
        TrainingError: Half the size is too much as well.
    """
    began = time.monotonic()
    try:
        return work(size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = first_line(error)
    # Not inside the handler: the error's traceback keeps what the pass had allocated.
    reason = f"a micro-batch of up to {size} {bound.unit} ran out of memory ({reason})"
    remedy = f"a lower {bound.key}"
    retries.append(Retry(f"{reason}; all are halved for this once, {remedy} saves the time", time.monotonic() - began))
    ending = f"{reason}, and so did its halves; start again with {remedy}, or go on with more memory for its process"
    with _without_memory(lambda _: TrainingError(ending)):
        return work(max(1, size // 2))


def halved_by_all(work: Callable[[int], Result], *, limit: int, size: int, rank: int) -> Result:
    """What `work` makes in passes of at most `limit` padded tokens, together with other learners.

    Args:
        work: Does everything from the beginning; the same number of passes on every learner.
        limit: What all learners keep to.
        size: Padded tokens of this learner's largest pass.
        rank: Of this learner.

    Raises:
        LearnerMemoryError: Memory does not suffice; it says what all learners should keep to.
    """

    def learners_error(reason: str) -> LearnerMemoryError:
        half = max(1, size // 2)
        return LearnerMemoryError(
            f"a micro-batch of up to {size} padded tokens ran out of memory on learner {rank} ({reason}); "
            f"the learners share one policy, so all of them go back to the last checkpoint, and on in micro-batches of "
            f"up to {half}; {_REMEDY} saves the time",
            half,
        )

    with _without_memory(learners_error):
        return work(limit)


def refused_without_memory(work: Callable[[int], Result], *, size: int, job: str, rank: int) -> Result:
    """What `work` makes in passes of at most `size` rows, for a worker of a training that others wait for.

    Raises:
        TrainingError: Memory does not suffice.
    """
    with _without_memory(
        lambda reason: TrainingError(
            f"training {job}: a micro-batch of up to {size} rows ran out of memory on worker {rank} ({reason}); the "
            "other workers wait for it, so it is not computed again in halves; start again with a lower "
            f"{ROWS.key}"
        )
    ):
        return work(size)


def refusal_of_halves(error: LearnerMemoryError) -> TrainingError:
    """Why a training ends whose learners ran out of memory in halves as well."""
    reason = str(error).partition(";")[0]
    return TrainingError(
        f"{reason}, where it was half of an earlier one already; start again with {_REMEDY}, or resume with more "
        "memory for the learners"
    )


def in_halves_once(
    rows: Sequence[int], work: Callable[[Sequence[int]], Result], retries: list[Retry]
) -> list[tuple[Sequence[int], Result]]:
    """What `work` makes of rows that share a pass, or of each half of them where memory does not suffice for all.

    For passes that leave nothing behind. The bits may differ from those of the whole: who shares a pass decides them.
    """
    began = time.monotonic()
    try:
        return [(rows, work(rows))]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or len(rows) == 1:
            raise
        reason = (
            f"a micro-batch of {len(rows)} rows ran out of memory ({first_line(error)}); it is halved for this once"
        )
    retries.append(Retry(reason, time.monotonic() - began))
    middle = len(rows) // 2
    return [(half, work(half)) for half in (rows[:middle], rows[middle:])]
