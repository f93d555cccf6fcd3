"""What counts as out of memory, and what is done about it, once."""

from __future__ import annotations

import pickle
import resource

import pytest
import torch

from actors.faults import LearnerMemoryError
from actors.learning.memory import halved_by_all, halved_once, in_halves_once, is_out_of_memory, refusal_of_halves
from actors.messages import Retry
from allgood.errors import TrainingError


def test_a_gpu_and_the_cpu_run_out_of_memory_with_errors_of_their_own() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(OSError("can't allocate memory"))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**40, limits[1]))
    try:
        with pytest.raises(RuntimeError) as refusal:
            torch.empty(2**40)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert is_out_of_memory(refusal.value)


def works_up_to(largest: int, calls: list[int], error: Exception | None = None):  # type: ignore[no-untyped-def]
    def work(size: int) -> str:
        calls.append(size)
        if size > largest:
            raise error or torch.OutOfMemoryError("CUDA out of memory.\nand a table")
        return f"in {size}"

    return work


def test_what_fits_is_done_once() -> None:
    calls, retries = list[int](), list[Retry]()
    assert halved_once(works_up_to(100, calls), size=100, retries=retries) == "in 100"
    assert (calls, retries) == ([100], [])


def test_what_does_not_fit_is_done_once_more_in_halves_and_noted() -> None:
    calls, retries = list[int](), list[Retry]()
    assert halved_once(works_up_to(60, calls), size=101, retries=retries) == "in 50"
    assert calls == [101, 50]
    assert len(retries) == 1
    assert "up to 101 padded tokens ran out of memory (CUDA out of memory.); all are halved" in retries[0].reason


def test_halves_that_do_not_fit_end_it_with_what_to_do() -> None:
    calls = list[int]()
    with pytest.raises(
        TrainingError, match=r"and so did its halves; start again with a lower align.micro_batch_tokens"
    ):
        halved_once(works_up_to(10, calls), size=100, retries=[])
    assert calls == [100, 50]


def test_other_errors_are_not_tried_again() -> None:
    calls = list[int]()
    with pytest.raises(RuntimeError, match="shapes"):
        halved_once(works_up_to(10, calls, RuntimeError("shapes do not fit")), size=100, retries=[])
    assert calls == [100]


def test_rows_that_share_a_pass_are_halved_once_and_in_order() -> None:
    calls, retries = list[int](), list[Retry]()
    work = works_up_to(3, calls)
    assert in_halves_once([4, 0, 1], lambda rows: work(len(rows)), retries) == [([4, 0, 1], "in 3")]
    assert retries == []
    assert in_halves_once([4, 0, 1, 7, 2], lambda rows: work(len(rows)), retries) == [
        ([4, 0], "in 2"),
        ([1, 7, 2], "in 3"),
    ]
    assert [retry.reason for retry in retries] == [
        "a micro-batch of 5 rows ran out of memory (CUDA out of memory.); it is halved for this once"
    ]
    for rows in ([0], list(range(8))):  # one row has no halves, and halves of 4 are too much as well
        with pytest.raises(torch.OutOfMemoryError):
            in_halves_once(rows, lambda rows: works_up_to(0 if len(rows) == 1 else 3, [])(len(rows)), [])


def test_learners_of_one_policy_are_told_half_of_what_one_of_them_could_not_hold() -> None:
    calls = list[int]()
    assert halved_by_all(works_up_to(100, calls), limit=100, size=80, rank=1) == "in 100"
    with pytest.raises(RuntimeError, match="shapes"):
        halved_by_all(works_up_to(10, calls, RuntimeError("shapes do not fit")), limit=100, size=80, rank=1)
    with pytest.raises(
        LearnerMemoryError, match=r"up to 81 padded tokens ran out of memory on learner 1 \(CUDA"
    ) as told:
        halved_by_all(works_up_to(90, calls), limit=100, size=81, rank=1)
    assert calls == [100, 100, 100]
    travelled = pickle.loads(pickle.dumps(told.value))  # as from actor to driver
    assert (str(travelled), travelled.pass_tokens) == (str(told.value), 40)
    assert str(refusal_of_halves(travelled)).startswith(
        "a micro-batch of up to 81 padded tokens ran out of memory on learner 1 (CUDA out of memory.), where it was "
        "half of an earlier one already; start again with a lower align.micro_batch_tokens"
    )
