"""Passes that run out of memory: done once more, from the beginning, in micro-batches of half the size.

What a pass that broke off has left, such as gradients of some layers, is thrown away with it: the work begins anew. A
gradient in smaller micro-batches is the same sum in another order, equal up to float rounding and not to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import torch

from actors.messages import Retry
from allgood.errors import TrainingError

Result = TypeVar("Result")

_OF_THE_CPU = ("not enough memory", "can't allocate memory")  # torch has no type for it there


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in the process's own memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_THE_CPU)


def halved_once(work: Callable[[int], Result], *, size: int, retries: list[Retry]) -> Result:
    """What `work` makes in passes of at most `size` padded tokens, or of half as many where memory does not suffice.

    Args:
        work: Does everything from the beginning, whatever an earlier call has left.
        size: Padded tokens of the largest pass.
        retries: Takes note of a second call.

    Raises:
        TrainingError: Half the size is too much as well.
    """
    began = time.monotonic()
    try:
        return work(size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = _first_line(error)
    # Not inside the handler: the error's traceback keeps what the pass had allocated.
    reason = f"a micro-batch of up to {size} padded tokens ran out of memory ({reason})"
    remedy = "a lower align.micro_batch_tokens"
    retries.append(Retry(f"{reason}; all are halved for this once, {remedy} saves the time", time.monotonic() - began))
    try:
        return work(max(1, size // 2))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"{reason}, and so did its halves; start again with {remedy}, or resume with more memory for the learner"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
