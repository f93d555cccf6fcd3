"""Per point and seed: the world, its models, references for training, and many samples of pi_0 for predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.open_world.design import NUM_SEEDS, POINTS, STEPS, Point
from experiments.study.worlds import train_models
from pipelines.cast.actors import Actors
from pipelines.config.loading import load_config
from pipelines.config.rl import Split
from pipelines.config.run import RunConfig
from pipelines.output.hashes import sha256_of
from pipelines.references.build import build_references
from pipelines.references.table import MANIFEST
from pipelines.run.folder import RunFolder, share_base

RUN_FILE = Path("configs/open_world.yaml")
PREDICTION = "prediction"


@dataclass(frozen=True)
class Scale:
    """How much of everything. The defaults are the study; a test makes them tiny.

    Attributes:
        settings: Overrides of the run file.
        seeds: World and everything after it is drawn anew from each.
        points: Of the open world.
        samples: Of pi_0 per prompt, for predictions.
        validation_prompts: On which gammas, weights and caps are chosen.
        test_prompts: On which predictions are made; trained policies meet these and more.
        steps: Of a training, by target KL.
    """

    settings: tuple[str, ...]
    seeds: Sequence[int] = range(NUM_SEEDS)
    points: Sequence[Point] = POINTS
    samples: int = 1024
    validation_prompts: int = 32
    test_prompts: int = 48
    steps: Mapping[float, int] = field(default_factory=lambda: dict(STEPS))


def seed_config(scale: Scale, folder: Path, point: Point, seed: int) -> RunConfig:
    """The run of one point and seed, from which everything of it is drawn."""
    overrides = [
        *scale.settings,
        f"name={point}_{seed}",
        f"seed={seed}",
        f"world.point={point}",
        f"world.seed={seed}",
        f"output_dir={folder.absolute()}",
    ]
    return load_config(RUN_FILE, overrides)


def prediction_config(config: RunConfig, scale: Scale) -> RunConfig:
    """The same models with many samples on few prompts, in a folder of its own."""
    limits: dict[Split, int] = {"validation": scale.validation_prompts, "test": scale.test_prompts}
    references = config.references.model_copy(
        update={
            "num_samples": scale.samples,
            "splits": list(limits),
            "max_prompts": limits,
            "prompts_per_chunk": 2,  # 2,048 responses at a time
        }
    )
    folder = {"name": PREDICTION, "output_dir": config.folder}
    return config.model_copy(update=folder | {"references": references})


def make_models(config: RunConfig) -> None:
    """World, SFT policy and reward models, unless they are there. Needs a running Ray session."""
    folder = RunFolder(config.folder)
    if not all((folder.reward(name) / "best").is_dir() for name in config.properties):  # trained last
        train_models(config)


def make_samples(config: RunConfig, prediction: RunConfig, actors: Actors) -> None:
    """The reference table of the trainings, and the samples of the predictions, unless they are there."""
    share_base(config.folder, prediction.folder)
    for one in (config, prediction):
        if not (RunFolder(one.folder).references / MANIFEST).is_file():
            build_references(one, actors)


def world_hash(folder: RunFolder) -> str:
    """sha256 over the files of a written world."""
    digest = hashlib.sha256()
    for path in sorted(folder.world.iterdir()):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
