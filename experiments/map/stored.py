"""Where the numbers of the map lie, a file per group, and finding those of a cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allgood.errors import DataError
from allgood.idealised.cells import BARS, MAIN_BAR, TARGET_KLS, Cell
from allgood.idealised.laws import COARSE, FINE
from allgood.idealised.prompts import NUM_REPLICATES, PROMPTS_PER_REPLICATE
from experiments.map.groups import groups
from experiments.map.results import MEAN, cell_of
from pipelines.output.files import atomic_path, write_json
from pipelines.output.stamp import is_of_today, load_together, stamped

Floats = NDArray[np.float64]

METHOD = {
    "prompts": [NUM_REPLICATES, PROMPTS_PER_REPLICATE],
    "lattices": [[lattice.low, lattice.step, lattice.num] for lattice in (FINE, COARSE)],
}
"""What the numbers depend on and no cell names; stored with them."""
SAMPLED = "sampled.json"
LATTICE_ENDS = 1e-3
"""Mass near the upper end of a lattice from which on a number is not trusted: part of the optimum lies beyond."""


def group_path(folder: Path, name: str) -> Path:
    """The file of a group."""
    return folder / f"{name}.json"


def is_done(path: Path, cells: Sequence[Cell]) -> bool:
    """Whether a group is stored with these cells, by this version and method."""
    if not path.is_file():
        return False
    stored = json.loads(path.read_text(encoding="utf-8"))
    if not is_of_today(stored) or stored.get("method") != METHOD:
        return False
    return [cell_of(result) for result in stored["cells"]] == list(cells)


def write_group(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Store the results of a group, a line per cell."""
    lines = ",\n".join(json.dumps(result, allow_nan=False) for result in results)
    head = json.dumps(stamped({"method": METHOD}))[1:-1]
    with atomic_path(path) as temporary:
        temporary.write_text(f'{{{head}, "cells": [\n{lines}\n]}}\n', encoding="utf-8")


def write_sampled(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store what plain sampling gave."""
    write_json(folder / SAMPLED, stamped({"rows": list(rows)}))


def load_sampled(folder: Path) -> list[dict[str, Any]]:
    """What plain sampling gave; empty when it was not run by this version."""
    path = folder / SAMPLED
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return list(stored["rows"]) if is_of_today(stored) else []


@dataclass(frozen=True)
class Map:
    """All stored cells."""

    results: Mapping[Cell, Mapping[str, Any]]

    def all_good(self, cell: Cell, objective: str, *, bar: float = MAIN_BAR, matching: str = MEAN) -> Floats:
        """All-good rates [targets]."""
        return self.measure(cell, objective, "all_good", bar=bar, matching=matching)

    def measure(self, cell: Cell, objective: str, name: str, *, bar: float = MAIN_BAR, matching: str = MEAN) -> Floats:
        """A stored measure [targets]; `bar` where it has bars. Where prompts are alike both matchings are one."""
        by_matching = self.results[cell]["objectives"][objective]
        found = by_matching[matching if matching in by_matching else MEAN][name]
        return np.array(found[BARS.index(bar)] if isinstance(found[0], list) else found)

    def error(self, cell: Cell, objective: str, *, bar: float = MAIN_BAR) -> Floats:
        """Standard error [targets] of the LSC sum minus this objective; 0 where prompts are alike."""
        if "error" not in self.results[cell]["objectives"][objective][MEAN]:
            return np.zeros(len(TARGET_KLS))
        return self.measure(cell, objective, "error", bar=bar)

    def before(self, cell: Cell, bar: float = MAIN_BAR) -> float:
        """P(all good) under pi_0."""
        return float(self.results[cell]["all_good_before"][BARS.index(bar)])

    def is_trusted(self, cell: Cell, objective: str, *, matching: str = MEAN) -> NDArray[np.bool_]:
        """[targets]: whether the lattice holds the optimum."""
        return self.measure(cell, objective, "edge", matching=matching) < LATTICE_ENDS


def load_map(folder: Path) -> Map:
    """All groups.

    Raises:
        DataError: A group is missing, or they are of different versions.
    """
    missing = [group.name for group in groups() if not is_done(group_path(folder, group.name), group.cells)]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}; run `make map` without --only-write")
    stored = load_together(group_path(folder, group.name) for group in groups())
    return Map({cell_of(result): result for group in stored for result in group["cells"]})


def at_kl(values: Floats, kl: float) -> float:
    """The value at one of the target KLs."""
    return float(values[TARGET_KLS.index(kl)])
