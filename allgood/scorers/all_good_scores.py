"""What all properties and the objective say of responses, with the reasons where they say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allgood.all_good import Judged
from allgood.scorers.rewards_spec import ReferenceFrom
from allgood.scorers.wire import ScoreAnswer, ScoredProperty, ScoredRow
from allgood.views import FloatArray, PropertyView


@dataclass(frozen=True)
class AllGoodScores:
    """One row per response that was asked for, in their order.

    Attributes:
        judged: Views of the properties and the combined utility, [rows].
        prompt_ids: By which tables know the prompts; None where a prompt could not be read.
        reference_from: Per property, where r_ref of each row came from.
        reasons: Why a row has no utility; None where it has one.
        share_in_table: Share of the distinct prompts that every table knows; None where no property has a table.
    """

    judged: Judged
    prompt_ids: tuple[str | None, ...]
    reference_from: Mapping[str, tuple[ReferenceFrom, ...]]
    reasons: tuple[str | None, ...]
    share_in_table: float | None

    @property
    def total(self) -> FloatArray:
        """The objective's utility in nats, KL not included, [rows]; NaN where `ok` is False: 0 is the best value."""
        return self.judged.utilities

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which rows have a utility. Drop the others."""
        return ~self.judged.failed

    @property
    def properties(self) -> Mapping[str, PropertyView]:
        """Per property reward, reference, margin, utility and P(good), [rows]."""
        return self.judged.properties

    def answer(self) -> ScoreAnswer:
        """Everything as `/v1/score` answers it: None for numbers that are missing."""
        columns = {name: _columns(view) for name, view in self.properties.items()}
        totals = _plain(self.total)
        p_all_good = self.judged.p_all_good
        shares = [None] * len(totals) if p_all_good is None else _plain(p_all_good)
        rows: list[ScoredRow] = [
            {
                "ok": total is not None,
                "reason": self.reasons[row],
                "prompt_id": self.prompt_ids[row],
                "utility": total,
                "p_all_good": shares[row],
                "properties": {name: self._property(name, columns[name], row) for name in self.properties},
            }
            for row, total in enumerate(totals)
        ]
        return {"rows": rows, "share_in_table": self.share_in_table}

    def _property(self, name: str, columns: Mapping[str, list[float | None]], row: int) -> ScoredProperty:
        return {
            "reward": columns["reward"][row],
            "reference": columns["reference"][row],
            "margin": columns["margin"][row],
            "utility": columns["utility"][row],
            "p_good": columns["p_good"][row],
            "reference_from": self.reference_from[name][row],
        }


def _columns(view: PropertyView) -> dict[str, list[float | None]]:
    values: dict[str, NDArray[np.floating]] = {
        "reward": view.rewards,
        "reference": view.references,
        "margin": view.margins,
        "utility": view.utilities,
        "p_good": view.p_good,
    }
    return {name: _plain(column) for name, column in values.items()}


def _plain(values: NDArray[np.floating]) -> list[float | None]:
    """Numbers as JSON can hold them."""
    return [value if known else None for value, known in zip(values.tolist(), np.isfinite(values), strict=True)]
