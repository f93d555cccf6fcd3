"""Seeds of trainings: every training of a run has its own, derived from the run's seed."""

from __future__ import annotations

import hashlib


def training_seed(run_seed: int, *purpose: str) -> int:
    """A 31-bit seed for the training called `purpose`, the same on every machine."""
    digest = hashlib.sha256(f"allgood training {run_seed} {' '.join(purpose)}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1
