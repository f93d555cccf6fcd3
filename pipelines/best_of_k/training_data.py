"""What `allgood best-of-k` writes for trainers of others, as files and as a part of the summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.best_of_k.pairs import Pairs
from pipelines.best_of_k.tilted import Tilted

PAIRS, TILTED, WEIGHTED = "pairs", "tilted", "weighted"


@dataclass(frozen=True)
class TrainingData:
    """Preference pairs, and the optimum at a chosen KL where one was."""

    pairs: Pairs
    optimum: Tilted | None

    @property
    def files(self) -> Mapping[str, list[dict[str, Any]]]:
        """Rows by the name of their file; a file without rows is not to be."""
        optimum = self.optimum
        return {
            PAIRS: self.pairs.rows,
            TILTED: [] if optimum is None else optimum.drawn,
            WEIGHTED: [] if optimum is None else optimum.weighted,
        }

    @property
    def summary(self) -> dict[str, Any]:
        """What is told of them."""
        pairs = {"rows": len(self.pairs.rows), "prompts_with_ties": self.pairs.num_tied}
        if self.optimum is None:
            return {"pairs": pairs}
        tilted = {
            "kl": self.optimum.kl,
            "gamma": self.optimum.gamma,
            "reliable": self.optimum.reliable,
            "effective_sample_size": self.optimum.effective_sample_size,
            "rows_drawn": len(self.optimum.drawn),
            "rows_weighted": len(self.optimum.weighted),
        }
        return {"pairs": pairs, "tilted": tilted}
