"""The experiment: references for both sides, coefficients, two arms at a time on kept actors, one JSON per setting.

A setting whose KL or utility still changes at the end is trained again, for twice as many steps at half the rate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from allgood.errors import ConfigError
from allgood.tilting import solve_gamma
from pipelines.cached_samples import cached_utilities, load_cached_samples
from pipelines.cast_request import Actors
from pipelines.comparison import Arm, kept_actors, run_arms
from pipelines.config.run import RunConfig
from pipelines.evaluation.convergence import change_over_last_quarter, is_flat
from pipelines.evaluation.samples import test_prompts
from pipelines.files import write_json
from pipelines.gold import gold_of
from pipelines.preview_check.design import (
    TARGET_KLS,
    Cell,
    Scale,
    arm_of,
    prediction_config,
    settings_of,
    training_config,
)
from pipelines.preview_check.measure import Predictor, compare, trained_samples
from pipelines.progress import say
from pipelines.reference_table import MANIFEST, ReferenceTable
from pipelines.references import build_references
from pipelines.run_folder import RunFolder, share_base

LANES = 2
COEFFICIENTS, SCALE = "coefficients.json", "scale.json"


def run_check(chain: RunConfig, folder: Path, scale: Scale) -> None:
    """Run what `folder` does not hold yet. Needs a running Ray session.

    Raises:
        ConfigError: The chain has no gold or not two properties, or the folder holds results of another scale.
    """
    if gold_of(chain) is None or len(chain.properties) != 2:
        raise ConfigError(f"{chain.folder} must be a run with gold and two properties, such as `allgood quickstart`")
    _keep_scale(folder, scale)
    training = training_config(chain, folder, scale)
    prediction = prediction_config(training, scale)
    for config in (training, prediction):
        share_base(chain.base_folder, config.folder)
    cells = [Cell(setting, target, scale.steps) for setting, target in product(settings_of(training), TARGET_KLS)]
    if not to_train(cells, folder, scale):
        return
    with kept_actors(training, LANES) as lanes:
        for config in (training, prediction):
            if not (RunFolder(config.folder).references / MANIFEST).is_file():
                build_references(config, lanes[0])
        coefficients = _coefficients(prediction, cells, folder / COEFFICIENTS)
        while missing := to_train(cells, folder, scale):
            say(f"{len(missing)} of {len(cells)} settings to train")
            arms = [arm_of(cell, coefficients[cell.name]) for cell in missing]
            _train(list(zip(missing, arms, strict=True)), prediction, lanes, folder)


def result_path(folder: Path, cell: Cell) -> Path:
    """Where the numbers of one setting at one target lie."""
    return folder / "results" / f"{cell.name}.json"


def to_train(cells: Sequence[Cell], folder: Path, scale: Scale) -> list[Cell]:
    """Cells without a result, and those that were not flat and may be trained longer."""
    missing = []
    for cell in cells:
        path = result_path(folder, cell)
        if not path.is_file():
            missing.append(cell)
            continue
        entry = json.loads(path.read_text(encoding="utf-8"))
        longer = 2 * int(entry["steps"])
        if not is_flat(entry["change"]) and longer <= scale.max_steps:
            missing.append(replace(cell, steps=longer))
    return missing


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
        cell.name: solve_gamma(cached_utilities(cell.setting.config, cached, table).combined, cell.target_kl)
        for cell in cells
    }
    write_json(path, found)
    return found


def _train(work: Sequence[tuple[Cell, Arm]], prediction: RunConfig, lanes: Sequence[Actors], folder: Path) -> None:
    gold = gold_of(prediction)
    assert gold is not None
    scale = json.loads((folder / SCALE).read_text(encoding="utf-8"))
    table = ReferenceTable.load(RunFolder(prediction.folder).references)
    predictor = Predictor.of(load_cached_samples(prediction, "test"), table, gold.bars)
    prompts = test_prompts(prediction)
    training = work[0][0].setting.config
    sft = load_cached_samples(training, "validation")
    training_table = ReferenceTable.load(RunFolder(training.folder).references)
    for start in range(0, len(work), len(lanes)):  # as many as there are lanes: results are kept as they come
        pair = work[start : start + len(lanes)]
        runs = run_arms([arm for _, arm in pair], lanes, prompts)
        for (cell, _), run in zip(pair, runs, strict=True):
            trained = trained_samples(run, predictor.cached, lanes[0], prompts)
            entry = compare(predictor, cell, run, trained)
            sft_utility = float(cached_utilities(cell.setting.config, sft, training_table).combined.mean())
            entry["sft_validation_utility"] = sft_utility
            entry["change"] = change_over_last_quarter(entry["curve"], sft_utility=sft_utility)
            entry["scale"] = scale
            write_json(result_path(folder, cell), entry)
