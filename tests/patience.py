"""Limits of seconds that also hold where processes wait for a core."""

from __future__ import annotations

import os


def patient(seconds: float) -> float:
    """`seconds` where every process finds a free core, and in proportion more where they wait for one."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
