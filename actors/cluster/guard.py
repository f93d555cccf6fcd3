"""Whoever owns a named cast moves its actors from lost nodes: those who only know their names cannot.

Ray starts an actor anew where it was, and waits for ever where that node is gone. So the owner looks at the nodes, also
while it waits for something else, and has the cast start the actors of a lost one elsewhere, under the same names.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from actors.cluster.cast import Cast
from allgood.errors import AllgoodError, RoleError

_LOOK_S = 1.0  # between two looks at the nodes
_JOIN_S = 5.0


class Guard:
    """Looks after one cast in a thread of its own, until `stop` or the first loss that no place is found for."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._is_over = threading.Event()
        self._error: RoleError | None = None
        self._thread = threading.Thread(target=self._look, name="guard", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Nothing while every actor has a node, or may get one.

        Raises:
            RoleError: A node was lost, and the cluster has no place for what ran there. The actors are given up.
        """
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join(_JOIN_S)  # one that waits for nodes ends when the cast is closed

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_S) and ray.is_initialized():
            try:
                self._cast.leave_lost_nodes()
            except AllgoodError as error:
                self._error = RoleError(str(error))
                self._cast.give_up_lost()
                return


@contextmanager
def guarded(cast: Cast) -> Iterator[Guard]:
    """A guard of a named cast for as long as the block runs."""
    guard = Guard(cast)
    try:
        yield guard
    finally:
        guard.stop()
