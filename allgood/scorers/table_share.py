"""How many of the prompts that are scored stand in the reference tables, and whether that is enough.

Where a trainer renders or cuts prompts in its own way, none of them is found, and every reference silently becomes a
prediction or a fallback. A declared minimum makes that an error.
"""

from __future__ import annotations

import threading

from allgood.errors import ReferenceTableError


class TableShare:
    """Counts prompts over all calls, since trainers may send them one by one; safe to use from several threads.

    Args:
        minimum: Share that must be found, in [0, 1]. One prompt that is not is let through, unless the minimum is 1:
            the first of many calls would be refused otherwise.
    """

    def __init__(self, minimum: float) -> None:
        self._minimum = minimum
        self._num_asked = 0
        self._num_unknown = 0
        self._lock = threading.Lock()

    def add(self, *, num_found: int, num_asked: int) -> float | None:
        """Count the distinct prompts of a call; returns the share that was found among them, None without any.

        Raises:
            ReferenceTableError: Fewer than the minimum were found so far.

        >>> TableShare(0.5).add(num_found=3, num_asked=4)
        0.75
        """
        with self._lock:
            self._num_asked += num_asked
            self._num_unknown += num_asked - num_found
            asked, unknown = self._num_asked, self._num_unknown
        allowed = (1.0 - self._minimum) * asked
        if unknown > (allowed if self._minimum == 1.0 else max(allowed, 1.0)):
            raise ReferenceTableError(
                f"{unknown} of {asked} prompts are not in the reference table, and min_share_in_table is "
                f"{self._minimum:g}; check that prompts come as in the run (messages, or rendered by the declared "
                "policy_template), or lower it"
            )
        return num_found / num_asked if num_asked else None
