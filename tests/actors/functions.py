"""Reward functions for tests."""

from __future__ import annotations

from collections.abc import Sequence


def shortness(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Shorter is better."""
    return [-float(len(response)) for response in responses]
