"""The experiment: references for both sides, coefficients, two arms at a time on kept actors, one JSON per setting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from allgood.errors import ConfigError
from allgood.tilting import solve_gamma
from experiments.preview_check.design import (
    TARGET_KLS,
    CheckSetting,
    Scale,
    arm_of,
    name_at,
    prediction_config,
    settings_of,
    training_config,
)
from experiments.preview_check.measure import Predictor, compare, trained_samples
from experiments.study.flatness import change_over_last_quarter
from pipelines.cast.actors import Actors
from pipelines.comparison.arms import kept_actors, run_arms
from pipelines.config.run import RunConfig
from pipelines.evaluation.efficiency import sft_utilities
from pipelines.evaluation.samples import test_prompts
from pipelines.objective.gold import gold_of
from pipelines.output.files import write_json
from pipelines.output.progress import say
from pipelines.output.stamp import stamped
from pipelines.references.build import build_references
from pipelines.references.cached_samples import cached_utilities, load_cached_samples
from pipelines.references.table import MANIFEST, ReferenceTable
from pipelines.run.folder import RunFolder, share_base

LANES = 2
COEFFICIENTS, SCALE = "coefficients.json", "scale.json"

Cell = tuple[CheckSetting, float]  # a setting at a target KL


def run_check(chain: RunConfig, folder: Path, scale: Scale) -> None:
    """Run what `folder` does not hold yet. Needs a running Ray session.

    Raises:
        ConfigError: The chain has no gold or not two properties, or the folder holds results of another scale or chain.
    """
    if gold_of(chain) is None or len(chain.properties) != 2:
        raise ConfigError(f"{chain.folder} must be a run with gold and two properties, such as `allgood quickstart`")
    _keep_scale(folder, scale)
    training = training_config(chain, folder, scale)
    prediction = prediction_config(training, scale)
    for config in (training, prediction):
        share_base(chain.base_folder, config.folder)
    cells = list(product(settings_of(training), TARGET_KLS))
    missing = [cell for cell in cells if not result_path(folder, *cell).is_file()]
    say(f"{len(missing)} of {len(cells)} settings to train")
    if not missing:
        return
    with kept_actors(training, LANES) as lanes:
        for config in (training, prediction):
            if not (RunFolder(config.folder).references / MANIFEST).is_file():
                build_references(config, lanes[0])
        coefficients = _coefficients(prediction, cells, folder / COEFFICIENTS)
        _train(missing, coefficients, prediction, lanes, folder)


def result_path(folder: Path, setting: CheckSetting, target_kl: float) -> Path:
    """Where the numbers of one setting at one target lie."""
    return folder / "results" / f"{name_at(setting, target_kl)}.json"


def _keep_scale(folder: Path, scale: Scale) -> None:
    path = folder / SCALE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else vars(scale)
    if found != vars(scale):
        raise ConfigError(f"{folder} holds results of another scale, {found}; give another --folder")
    write_json(path, vars(scale))


def _coefficients(prediction: RunConfig, cells: Sequence[Cell], path: Path) -> dict[str, float]:
    """Gamma of every cell, from the SFT samples of alignment prompts; solved once and kept."""
    if path.is_file():
        kept: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    cached = load_cached_samples(prediction, "alignment")
    table = ReferenceTable.load(RunFolder(prediction.folder).references)
    found = {
        name_at(setting, target): solve_gamma(cached_utilities(setting.config, cached, table), target)
        for setting, target in cells
    }
    write_json(path, found)
    return found


def _train(
    cells: Sequence[Cell],
    coefficients: dict[str, float],
    prediction: RunConfig,
    lanes: Sequence[Actors],
    folder: Path,
) -> None:
    gold = gold_of(prediction)
    assert gold is not None
    table = ReferenceTable.load(RunFolder(prediction.folder).references)
    predictor = Predictor.of(load_cached_samples(prediction, "test"), table, gold.bars)
    prompts = test_prompts(prediction)
    for start in range(0, len(cells), len(lanes)):  # as many as there are lanes: results are kept as they come
        pair = cells[start : start + len(lanes)]
        arms = [arm_of(setting, target, coefficients[name_at(setting, target)]) for setting, target in pair]
        for (setting, target), run in zip(pair, run_arms(arms, lanes, prompts), strict=True):
            trained = trained_samples(run, predictor.cached, lanes[0], prompts)
            entry = compare(predictor, setting, run, trained, target_kl=target)
            sft_utility = float(sft_utilities(run.arm.config).mean())
            entry["sft_validation_utility"] = sft_utility
            entry["change"] = change_over_last_quarter(entry["curve"], sft_utility=sft_utility)
            entry["scale"] = json.loads((folder / SCALE).read_text(encoding="utf-8"))
            write_json(result_path(folder, setting, target), stamped(entry))
