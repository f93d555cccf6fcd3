"""Where the numbers of the study lie: a folder per point and seed, with predictions, the start policy, and each arm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.open_world.design import POINTS, Point
from pipelines.output.files import atomic_path
from pipelines.output.stamp import refuse_mixed

Entry = dict[str, Any]


@dataclass(frozen=True)
class Seed:
    """What is stored of one point and seed. `arms` has the trained ones by name; `start` is absent before them.

    `exploration` is there where somebody looked for reasons afterwards.
    """

    point: Point
    seed: int
    predictions: Entry
    start: Entry | None
    arms: Mapping[str, Entry]
    exploration: Entry | None = None


@dataclass(frozen=True)
class Stored:
    """All files under one folder."""

    folder: Path

    def predictions(self, point: Point, seed: int) -> Path:
        """Made before any arm is trained."""
        return self._of(point, seed) / "predictions.json"

    def start(self, point: Point, seed: int) -> Path:
        """The start policy on test prompts."""
        return self._of(point, seed) / "start.json"

    def arm(self, point: Point, seed: int, name: str) -> Path:
        """A trained policy."""
        return self._of(point, seed) / "arms" / f"{name}.json"

    def exploration(self, point: Point, seed: int) -> Path:
        """Why predictions were missed."""
        return self._of(point, seed) / "exploration.json"

    def _of(self, point: Point, seed: int) -> Path:
        return self.folder / point / f"seed_{seed}"

    def load(self, path: Path) -> Entry:
        """One file."""
        found: Entry = json.loads(path.read_text(encoding="utf-8"))
        return found

    def write(self, path: Path, entry: Mapping[str, Any]) -> None:
        """One file, whole or not at all: a line per key, and per member of a list of sections."""
        lines = ",\n".join(f"{json.dumps(key)}: {_line(value)}" for key, value in entry.items())
        with atomic_path(path) as temporary:
            temporary.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")

    def seeds(self, point: Point) -> list[Seed]:
        """Every seed of a point whose predictions are stored, in order.

        Raises:
            DataError: Numbers are of different versions.
        """
        folders = (self.folder / point).glob("seed_*/predictions.json")
        found = [self._seed(point, int(path.parent.name.removeprefix("seed_"))) for path in folders]
        return sorted(found, key=lambda seed: seed.seed)

    def points(self) -> dict[Point, list[Seed]]:
        """The seeds of both points."""
        return {point: self.seeds(point) for point in POINTS}

    def _seed(self, point: Point, seed: int) -> Seed:
        start = self.start(point, seed)
        paths = {path.stem: path for path in sorted(self.arm(point, seed, "").parent.glob("*.json"))}
        arms = {name: self.load(path) for name, path in paths.items()}
        refuse_mixed({str(paths[name]): arm for name, arm in arms.items()})
        predictions = self.load(self.predictions(point, seed))
        return Seed(
            point, seed, predictions, self._if_there(start), arms, self._if_there(self.exploration(point, seed))
        )

    def _if_there(self, path: Path) -> Entry | None:
        return self.load(path) if path.is_file() else None


def _line(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(json.dumps(item, allow_nan=False) for item in value) + "\n]"
    return json.dumps(value, allow_nan=False)
