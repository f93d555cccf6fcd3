"""The preregistration: what is fixed and committed before any arm is trained, and the check that training makes.

`preregistration.json` holds the design, and per point and seed the hash of the world and that of the file of
predictions; `preregistration.md` says the same to a reader. A seed may be added later, as long as none of its arms is
trained; what stands there never changes.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allgood.errors import DataError
from experiments.open_world.design import POINTS, Point, design
from experiments.open_world.stored import Stored
from pipelines.output.files import write_json
from pipelines.output.hashes import sha256_of

FILE = Path("experiments/open_world/preregistration.json")
WORLDS = Path("experiments/open_world/points.json")  # hashes of both points, fixed with the world itself
COMMAND = "python -m experiments.open_world --preregister"


@dataclass(frozen=True)
class Registration:
    """What was registered, and the checksum of the file."""

    content: dict[str, Any]
    sha256: str

    def require(self, point: Point, seed: int, predictions: Path) -> None:
        """Refuse a seed that is not registered, or whose predictions are others.

        Raises:
            DataError: Says which, and what to do.
        """
        entry = self._entry(point, seed)
        if not predictions.is_file() or sha256_of(predictions) != entry["predictions"]:
            raise DataError(
                f"{predictions} is missing, or not the file that was preregistered; take it from the repository, or "
                "delete what was stored of this seed and begin the study anew"
            )

    def require_world(self, point: Point, seed: int, found: str) -> None:
        """Refuse a world that differs from the one of the predictions.

        Raises:
            DataError: Names both hashes.
        """
        entry = self._entry(point, seed)
        if entry["world"] != found:
            raise DataError(
                f"the world of {point}, seed {seed} has hash {found[:12]}, but {entry['world'][:12]} was "
                "preregistered: the generator has changed since; use the version that made the predictions"
            )

    def _entry(self, point: Point, seed: int) -> dict[str, str]:
        found: dict[str, str] | None = self.content["worlds"].get(point, {}).get(str(seed))
        if found is None:
            raise DataError(f"{point}, seed {seed} is not preregistered; predict it, run `{COMMAND}`, and commit")
        return found


def registered(path: Path = FILE) -> Registration:
    """The preregistration, if it is that of this design.

    Raises:
        DataError: There is none, or it was made for another design.
    """
    if not path.is_file():
        raise DataError(
            f"there is no {path}, and no arm is trained without; run `{COMMAND}`, and commit what it writes"
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key, value in _as_json(design()).items() if content["design"].get(key) != value]
    if changed or content["points"] != _points_hash():
        what = ", ".join(changed) or "the points of the world"
        raise DataError(
            f"{path} was made for another design ({what}); what was preregistered does not change: take back the "
            "change, or begin a study of another name"
        )
    return Registration(content, sha256_of(path))


def register(stored: Stored, path: Path = FILE) -> dict[str, Any]:
    """Write what is predicted but not yet registered into the preregistration, and return its content.

    Raises:
        DataError: An arm of such a seed was trained before, or the design is another than the registered one.
    """
    before = registered(path).content["worlds"] if path.is_file() else {}
    worlds: dict[str, dict[str, Any]] = {point: dict(before.get(point, {})) for point in POINTS}
    for point in POINTS:
        for seed in stored.seeds(point):
            if str(seed.seed) in worlds[point]:
                continue
            if seed.arms:
                raise DataError(
                    f"{point}, seed {seed.seed} has trained arms already, so that it cannot be preregistered any more; "
                    "leave it out, or delete its arms"
                )
            checksum = sha256_of(stored.predictions(point, seed.seed))
            worlds[point][str(seed.seed)] = {"world": seed.predictions["world"], "predictions": checksum}
    content = {"design": _as_json(design()), "points": _points_hash(), "worlds": worlds}
    write_json(path, content)
    return content


def require_committed(paths: Sequence[Path]) -> None:
    """Refuse files that git does not hold as they are; without a git checkout nothing can be said.

    Raises:
        DataError: Names the first such file.
    """
    try:
        inside = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], capture_output=True, check=False)
    except FileNotFoundError:
        return
    if inside.returncode:
        return
    for path in paths:
        tracked = subprocess.run(["git", "ls-files", "--error-unmatch", path], capture_output=True, check=False)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", path], capture_output=True, check=False)
        if tracked.returncode or changed.returncode:
            raise DataError(f"{path} is not committed as it is; commit it before an arm is trained")


def _points_hash() -> str:
    return sha256_of(WORLDS)


def _as_json(value: Any) -> Any:
    """With lists for tuples and strings for keys, as it is read back."""
    return json.loads(json.dumps(value))
