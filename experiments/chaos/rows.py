"""A row of the page of faults: what was injected, how often, and what came of it. Stored as JSON, a file per source.

`docs/results/data/faults/NAME.json` holds `{"rows": [...]}` for rows that a test or a script wrote with `store_rows`;
`chaos_SEED.json` is what `account` gives.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.output.files import write_json

DATA = Path("data") / "faults"
Identical = Literal["yes", "no", "does not apply"]


@dataclass(frozen=True)
class Row:
    """One kind of fault.

    `item` is the group on the page, `times` how often it was injected, `survived` how often the run got over it or
    ended as it should. `recovery_s` are seconds until the run went on, where they were measured. `identical`: whether
    the result is that of an undisturbed run, to the bit. `shown_by` is the test or script.
    """

    item: int
    fault: str
    times: int
    survived: int
    recovery_s: tuple[float, ...]
    identical: Identical
    shown_by: str


def store_rows(path: Path, rows: Sequence[Row], *, known: Collection[str]) -> None:
    """Store rows for the page, in place of earlier ones of the same tests. Of other tests the `known` ones stay."""
    stays = set(known) - {row.shown_by for row in rows}
    kept = [row for row in _rows(path) if row.shown_by in stays] if path.is_file() else []
    write_json(path, {"rows": [asdict(row) for row in sorted([*kept, *rows], key=lambda row: (row.item, row.fault))]})


def stored_rows(results: Path) -> list[Row]:
    """All rows that are stored alongside the page, but for those of chaos."""
    paths = [path for path in sorted((results / DATA).glob("*.json")) if not path.name.startswith("chaos_")]
    return [row for path in paths for row in _rows(path)]


def _rows(path: Path) -> list[Row]:
    stored = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return [Row(**{**content, "recovery_s": tuple(content["recovery_s"])}) for content in stored]


def chaos_path(results: Path, seed: int) -> Path:
    """Where the result of a seed of random chaos is stored."""
    return results / DATA / f"chaos_{seed}.json"


def stored_chaos(results: Path) -> list[dict[str, Any]]:
    """The results of all seeds that are stored."""
    paths: Iterable[Path] = (results / DATA).glob("chaos_*.json")
    return sorted((json.loads(path.read_text(encoding="utf-8")) for path in paths), key=lambda result: result["seed"])
