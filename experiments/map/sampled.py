"""What plain sampling gives in two worlds: the one whose truth is known, and one where no quadrature has an answer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from allgood.idealised.cells import Cell, Errors
from allgood.idealised.sampling import sampled

SAMPLES = (1_000, 16_000, 100_000)  # per prompt
HEAVY_TAIL = Errors("student", size=0.5)
KLS = (2.0, 4.0)


def sampled_results() -> list[dict[str, Any]]:
    """The plain world, and the same with errors of heavy tails, at each KL and number of samples."""
    return [
        {"errors": errors.kind, **asdict(found)}
        for errors in (Errors(), HEAVY_TAIL)
        for found in sampled(Cell(errors=errors), KLS, SAMPLES)
    ]
