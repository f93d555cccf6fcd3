"""Processes that hold one learner after another: starting a process takes seconds, making a tiny learner does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.learner import Learner
from actors.learning.specs import LearnerSpec


class Host:
    """A process for learners."""

    def make(self, spec: LearnerSpec) -> None:
        """Put a new learner in the place of the one before."""
        self.leave()
        self.learner = Learner(spec)

    def leave(self) -> None:
        """Be ready for another group."""
        if hasattr(self, "learner"):
            self.learner._peers.leave()

    def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function of the learner and the arguments."""
        return function(self.learner, *arguments)
