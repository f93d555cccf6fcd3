"""Real reward models for the experiment, and their rewards on judged answers to held-out prompts.

Two kinds, each for helpful and for harmless: the encoder fine-tuned on a property's pairs, and a linear head on the
frozen encoder, fitted to the same pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.best_of_k.models import installed_encoder, trained
from experiments.real_data.linear import linear_rewards
from experiments.real_data.material import JUDGE, MATERIAL, PAIRS
from pipelines.answers.reading import Answered, read_answers
from pipelines.answers.rewards import raw_rewards
from pipelines.config.loading import load_config
from pipelines.config.run import RunConfig

Floats = NDArray[np.float64]

CONFIG = Path("configs/real_data.yaml")
MIN_ANSWERS = 16


@dataclass(frozen=True)
class Rewarded:
    """One kind of reward models on the held-out prompts.

    Attributes:
        rewards: Per property, [prompts, answers]; NaN where a prompt has no more answers, or one could not be scored.
        reports: Per property what the model reached on held-out pairs.
    """

    rewards: Mapping[str, Floats]
    reports: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Judged:
    """Held-out prompts with at least `MIN_ANSWERS` answers, [prompts, answers] with NaN where a prompt has no more.

    Attributes:
        judge: The judge's logits, in nats.
        log_words: Log of the number of words.
        authors: The model that wrote an answer, numbered; -1 where there is none.
        models: Kinds of reward models by name.
    """

    judge: Floats
    log_words: Floats
    authors: NDArray[np.int64]
    models: Mapping[str, Rewarded]


def judged_answers(folder: Path, encoder: str | None) -> Judged:
    """Train what is not trained, score what is not scored, in `folder`, where the material is."""
    config = real_config(folder, encoder)
    answers = [
        answered
        for answered in read_answers(folder / MATERIAL)
        if answered.split == "test" and len(answered.responses) >= MIN_ANSWERS
    ]
    reports = trained(config)
    tuned = raw_rewards(config, answers, folder / "scores", canned=False).rewards
    linear = linear_rewards(config, answers, folder / "linear")
    return Judged(
        judge=_grid(answers, [fields[JUDGE] for answered in answers for fields in answered.fields]),
        log_words=_grid(answers, [math.log(max(1, len(text.split()))) for a in answers for text in a.responses]),
        authors=_authors(answers),
        models={
            "linear": Rewarded(
                {name: _grid(answers, head["rewards"]) for name, head in linear.items()},
                {name: head["report"] for name, head in linear.items()},
            ),
            "fine-tuned": Rewarded({name: _grid(answers, values) for name, values in tuned.items()}, reports),
        },
    )


def real_config(folder: Path, encoder: str | None) -> RunConfig:
    """The run file on the material in `folder`; the encoder is the installed package, if there is one."""
    source = encoder or installed_encoder()
    backbones = [f"properties.{name}.train.backbone={source}" for name in PAIRS] if source else []
    paths = [f"data.pairs.{name}.path={(folder / file).absolute()}" for name, file in PAIRS.items()]
    place = folder.absolute()
    return load_config(CONFIG, [f"output_dir={place.parent}", f"name={place.name}", *paths, *backbones])


def _grid(answers: Sequence[Answered], values: Sequence[float] | NDArray[np.floating[Any]]) -> Floats:
    """Values of all answers, prompt by prompt, as [prompts, most answers]."""
    counts = [len(answered.responses) for answered in answers]
    grid = np.full((len(answers), max(counts)), np.nan)
    rows = np.split(np.asarray(values, dtype=np.float64), np.cumsum(counts)[:-1])
    for index, row in enumerate(rows):
        grid[index, : len(row)] = row
    return grid


def _authors(answers: Sequence[Answered]) -> NDArray[np.int64]:
    names = [str(fields["model"]) for answered in answers for fields in answered.fields]
    numbers = np.unique(names, return_inverse=True)[1].astype(np.float64)
    return np.nan_to_num(_grid(answers, numbers), nan=-1).astype(np.int64)
