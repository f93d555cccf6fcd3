"""Who looks on while a run is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipelines.alignment.loop import Step
from pipelines.alignment.validation import Judge


@dataclass(frozen=True)
class Watch:
    """A judge of every evaluation, and whoever is told of every finished step."""

    judge: Judge | None  # None: nobody judges
    observe: Callable[[Step], None]


def told_once(watch: Watch | None) -> Watch | None:
    """`watch`, told of no step twice: after the loss of a learner some are computed again, to the same numbers."""
    if watch is None:
        return None
    last = 0

    def observe(step: Step) -> None:
        nonlocal last
        if step.state.step > last:
            last = step.state.step
            watch.observe(step)

    return replace(watch, observe=observe)
