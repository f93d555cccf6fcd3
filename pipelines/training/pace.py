"""When a checkpoint is due: as often as it can be while writing them takes no more than a twentieth of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SHARE = 20


class Pace:
    """The first is due at once; the next when 20 times what the last one took have passed since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock()

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._clock() >= self._next

    @contextmanager
    def writing(self) -> Iterator[None]:
        """To be held while one is written, or tried to be."""
        began = self._clock()
        try:
            yield
        finally:
            ended = self._clock()
            self._next = ended + _SHARE * (ended - began)
