"""One driver writes a run's copy at a time; who lost its lease notices before it commits."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from allgood.errors import InUseError, StorageError
from pipelines.storage.lease import Lease, leased
from pipelines.storage.place import Place, open_place

SHORT_S = 1.5
LIVELY_S = 6.0  # renewed every 2 s, also where the machine is busy

_ABANDONED: list[AbstractContextManager[Lease]] = []


def abandoned(place: Place) -> Lease:
    """The lease of a driver that was killed: nobody renews it, and nobody gave it back."""
    holding = leased(place, "align", lease_s=3600.0)
    _ABANDONED.append(holding)  # what is forgotten is closed, and gives the lease back
    return holding.__enter__()


def test_a_second_driver_is_refused_while_the_first_one_lives(place: Place) -> None:
    place.check()  # the first connection takes long
    with leased(place, "align", lease_s=LIVELY_S) as first:
        with pytest.raises(InUseError, match=r"is in use: `allgood align` runs it since .*before `allgood resume`"):
            leased(place, "resume", lease_s=LIVELY_S).__enter__()
        first.check()


def test_a_lease_that_was_given_back_is_free_at_once(place: Place) -> None:
    with leased(place, "align") as first:
        pass
    began = time.monotonic()
    with leased(place, "resume") as second:
        assert second.number == first.number + 1
    assert time.monotonic() - began < 5.0


def test_a_killed_driver_loses_its_lease_after_its_time_and_commits_nothing_any_more(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = abandoned(place)
    killed.check()
    with leased(place, "resume", lease_s=SHORT_S) as second:
        assert second.number == killed.number + 1
        with pytest.raises(StorageError, match=r"belongs to another driver now \(`allgood resume`"):
            killed.check()
        second.check()
    said = capsys.readouterr()
    assert "waiting up to" in said.out + said.err
    assert place.at("lease").names() == ["000002.json"]


def test_a_lease_that_was_not_renewed_for_long_is_taken_without_waiting(
    memory: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    abandoned(memory)
    time.sleep(0.05)
    with leased(memory, "resume", lease_s=0.02):
        said = capsys.readouterr()
        assert "waiting" not in said.out + said.err


def test_what_is_no_lease_is_not_overwritten(memory: Place) -> None:
    memory.write("lease/000007.json", b"something else")
    with pytest.raises(StorageError, match=r"lease/000007.json is no lease"):
        leased(memory, "align").__enter__()


def test_of_drivers_that_come_at_once_one_gets_it(tmp_path: Path) -> None:
    got, refused, stop = [], [], threading.Event()

    def drive() -> None:
        try:
            with leased(open_place(f"file://{tmp_path}"), "align", lease_s=LIVELY_S) as lease:
                got.append(lease.number)
                stop.wait(timeout=30.0)
        except InUseError as error:
            refused.append(error)

    drivers = [threading.Thread(target=drive) for _ in range(6)]
    for driver in drivers:
        driver.start()
    deadline = time.monotonic() + 30.0
    while len(refused) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    for driver in drivers:
        driver.join()
    assert (got, len(refused)) == ([1], 5)
