"""Alignments with unusual choices on real actors: they run, log what they learn, and resume to the same bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from actors.cluster.cast import Cast
from pipelines.alignment.align import resume, run_align
from pipelines.config.run import RunConfig
from pipelines.references.build import build_references
from tests.pipelines.tiny_run import make_base, tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("menu")
    make_base(folder)
    return folder


@pytest.fixture(scope="module")
def cast(folder: Path, tiny_cast: Cast) -> Cast:
    build_references(tiny_config(folder), tiny_cast)
    return tiny_cast


def run(folder: Path, name: str, *, transform: dict[str, Any], reference: dict[str, Any], **sections: Any) -> RunConfig:
    values = tiny_config(folder, name).model_dump(mode="json")
    for setting in values["properties"].values():
        setting |= {"transform": transform, "reference": reference}
    values["align"] |= {"steps": 4, "evaluate_every": 4, "keep_checkpoints": 3, **sections.pop("align", {})}
    return RunConfig.model_validate(values | sections)


def rows(config: RunConfig) -> list[dict[str, Any]]:
    logged = [json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if "second" not in k} for row in logged]


def weights(config: RunConfig) -> dict[str, torch.Tensor]:
    return load_file(config.folder / "model" / "model.safetensors")


def test_multipliers_controller_and_algorithm_continue_from_a_checkpoint_to_the_same_bits(
    folder: Path, cast: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run(
        folder,
        "lagrangian",
        transform={"kind": "identity"},
        reference={"kind": "mean"},
        objective={"kind": "lagrangian", "maximise": "short", "thresholds": {"vowels": 0.5}, "learning_rate": 0.3},
        kl={"estimator": "full", "placement": "loss", "controller": {"kind": "target", "target": 0.5}},
        align={"algorithm": {"kind": "grpo"}},
    )
    run_align(config, cast)
    assert "full-vocabulary KL as a loss ignores later tokens" in "".join(capsys.readouterr())
    whole, final = rows(config), weights(config)
    multipliers = [row["multiplier.vowels"] for row in whole]
    for before, after, row in zip(multipliers, multipliers[1:], whole, strict=False):
        assert after == pytest.approx(max(0.0, before - 0.3 * (row["utility.vowels.mean"] - 0.5)))
    assert len({row["gamma"] for row in whole}) == 4

    shutil.rmtree(config.folder / "checkpoints" / "step_000004")
    shutil.rmtree(config.folder / "model")
    resume(config.folder, cast)
    assert rows(config) == whole
    assert all(torch.equal(value, final[name]) for name, value in weights(config).items())


@pytest.mark.parametrize(
    ("objective", "transform", "reference", "algorithm"),
    [
        ({"kind": "formula"}, {"kind": "calibrated"}, {"kind": "draws", "num": 6}, {"kind": "reinforce"}),
        ({"kind": "normalise_then_sum"}, {"kind": "identity"}, {"kind": "median"}, {"kind": "rloo"}),
        ({"kind": "z_scored_sum"}, {"kind": "z_score"}, {"kind": "none"}, {"kind": "ppo", "epochs": 1}),
    ],
    ids=["calibrated", "normalise_then_sum", "z_scored_sum"],
)
def test_a_run_with_other_choices_trains(
    folder: Path,
    cast: Cast,
    objective: dict[str, Any],
    transform: dict[str, Any],
    reference: dict[str, Any],
    algorithm: dict[str, Any],
) -> None:
    config = run(
        folder,
        objective["kind"],
        objective=objective,
        transform=transform,
        reference=reference,
        align={"algorithm": algorithm, "steps": 2, "evaluate_every": 2},
    )
    run_align(config, cast)
    before = load_file(config.base_folder / "sft" / "best" / "model.safetensors")
    assert any(not torch.equal(before[name], value) for name, value in weights(config).items())
    assert all(row["gamma"] == config.kl.coefficient for row in rows(config))
