"""`allgood world`: write the world of a run, embedded or open, as the same jsonl that real preference data come in.

prompts.jsonl (prompt, split), demonstrations.jsonl (prompt, response, split), <property>_pairs.jsonl (chosen, rejected,
split, probability) and facts.json for the curious. The same seed writes the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from allgood.errors import ConfigError
from pipelines.config.open_world import World
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path
from pipelines.run.folder import RunFolder
from pipelines.world.material import Material, material_of

Row = dict[str, object]
SHARES = {"test": 0.15, "validation": 0.10, "sft": 0.15, "reward": 0.30, "alignment": 0.30}
TRAINING_SPLITS, HELD_OUT_SPLITS = ("reward", "alignment"), ("validation", "test")


def write_world(config: RunConfig) -> Path:
    """Write the world of `config` into its run folder and return that folder.

    Raises:
        ConfigError: The configuration has no `world` section.
    """
    if config.world is None:
        raise ConfigError(
            "this configuration has no `world` section; `allgood world` writes nothing for runs on your own data"
        )
    folder = RunFolder(config.base_folder).world
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, rows in world_rows(config.world).items():
            _write_jsonl(temporary / f"{name}.jsonl", rows)
        facts = material_of(config.world).facts
        (temporary / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return folder


def world_rows(world: World) -> dict[str, list[Row]]:
    """All rows of a world, by file name without ending."""
    material = material_of(world)
    prompts = split_prompts(world)
    everyone = [(prompt, split) for split, members in prompts.items() for prompt in members]
    return {
        "prompts": [{"prompt": prompt, "split": split} for prompt, split in everyone],
        "demonstrations": _demonstrations(prompts["sft"], world, material),
        **{f"{name}_pairs": _pairs(everyone, name, world, material) for name in world.bars},
    }


def split_prompts(world: World) -> dict[str, list[str]]:
    """The five disjoint splits. Each first turn occurs once, so no question stands in two splits."""
    generator = random.Random(f"prompts-{world.seed}")
    prompts = material_of(world).draw_prompts(world.num_prompts, generator)
    generator.shuffle(prompts)
    bounds, start = {}, 0
    for split, share in SHARES.items():
        end = start + round(share * len(prompts))
        bounds[split] = prompts[start:end]
        start = end
    bounds["alignment"] += prompts[start:]
    return bounds


def _demonstrations(prompts: Sequence[str], world: World, material: Material) -> list[Row]:
    generator = random.Random(f"demonstrations-{world.seed}")
    return [
        {"prompt": prompt, "response": material.write_answer(prompt, generator), "split": "sft"}
        for prompt in prompts
        for _ in range(world.demonstrations_per_prompt)
    ]


def _pairs(prompts: Sequence[tuple[str, str]], judged: str, world: World, material: Material) -> list[Row]:
    generator = random.Random(f"pairs-{judged}-{world.seed}")
    rows: list[Row] = []
    for prompt, split in prompts:
        for _ in range(_num_pairs(world, material, split)):
            pair = material.draw_pair(prompt, judged, generator)
            rows.append(
                {
                    "chosen": f"{prompt} {pair.chosen}",
                    "rejected": f"{prompt} {pair.rejected}",
                    "split": split,
                    "probability": round(pair.probability, 6),
                }
            )
    return rows


def _num_pairs(world: World, material: Material, split: str) -> int:
    if split in TRAINING_SPLITS:
        return material.pairs_per_prompt
    return world.held_out_pairs_per_prompt if split in HELD_OUT_SPLITS else 0


def _write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
