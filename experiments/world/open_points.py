"""The two points of the open world, fixed: their settings, and a hash of all rows that they generate.

    python -m experiments.world.open_points

writes experiments/open_world/points.json. It was committed before any method was run on the world; what stands there
does not change, and a test generates rows again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from pipelines.config.open_world import OpenWorldConfig
from pipelines.output.files import write_json
from pipelines.world.open_world import facts, gold, vocabulary
from pipelines.world.open_world.points import POINTS
from pipelines.world.write import world_rows

FILE = Path("experiments/open_world/points.json")
SEEDS = range(5)


def fixed_point(point: str, seeds: range = SEEDS) -> dict[str, object]:
    """Settings of a point in the default world, the constants of gold, and per seed the hash of its rows."""
    return {
        "settings": asdict(POINTS[point]),
        "world": OpenWorldConfig.model_validate({"point": point}).model_dump(mode="json", exclude={"seed"}),
        "gold": {"bar": gold.BAR, "off_topic": facts.OFF_TOPIC, "repeated": gold.REPEATED},
        "details": {
            "per_topic": facts.NUM_DETAILS,
            "said": facts.MEAN_DETAILS,
            "strays": facts.STRAYS,
            "general_share": facts.GENERAL_SHARE,
            "ending_share": facts.ENDING_SHARE,
        },
        "rare_share": vocabulary.RARE_SHARE,
        "rows_sha256": {str(seed): rows_hash(point, seed) for seed in seeds},
    }


def rows_hash(point: str, seed: int) -> str:
    """sha256 over every row of the default world of a point, prompts, demonstrations and pairs."""
    digest = hashlib.sha256()
    for name, rows in world_rows(OpenWorldConfig.model_validate({"point": point, "seed": seed})).items():
        digest.update(name.encode())
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    write_json(FILE, {point: fixed_point(point) for point in POINTS})
