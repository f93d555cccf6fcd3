"""By whom a sweep is judged, and the number that a single-objective sweep maximises and ends trials by."""

from __future__ import annotations

from typing import Literal

Source = Literal["gold", "evaluator", "nobody"]
"""Who says which response is better: gold, held-out preference models, or nobody."""


def trial_score(win_rate: float, kl: float, kl_budget: float | None) -> float:
    """The validation win rate inside the KL budget; minus the excess in nats beyond it.

    Every trial within the budget is worth more than every trial beyond it, and beyond it less excess is better, so that
    a search finds its way back.
    """
    excess = 0.0 if kl_budget is None else max(0.0, kl - kl_budget)
    return win_rate if excess == 0.0 else -excess
