"""A reward function in a module that takes its time to import, as a large model does to load."""

from __future__ import annotations

import time
from collections.abc import Sequence

time.sleep(30)


def score(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Nothing of interest."""
    return [0.0] * len(responses)
