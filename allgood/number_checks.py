"""Checks of single numbers, without torch: the run file reads the defaults of what uses them.

Each refuses a mistake with the argument, its value and what is allowed.
"""

from __future__ import annotations

import math

Number = float | int
"""A real number. To mypy an int is a float; to beartype, which checks the calls of the tests, it is not."""


def require_positive(name: str, value: Number) -> float:
    """`value` as a float; ValueError unless it is finite and above 0."""
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be a finite number above 0, got {value}")
    return number


def require_open_unit(name: str, value: Number) -> float:
    """`value` as a float; ValueError unless it lies in (0, 1)."""
    number = float(value)
    if not 0 < number < 1:
        raise ValueError(f"{name} must lie in (0, 1), got {value}")
    return number


def require_unit(name: str, value: Number) -> float:
    """`value` as a float; ValueError unless it lies in [0, 1]."""
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
    return number
