"""DPO and weighted SFT in TRL, for real, on files in the form that `allgood best-of-k` writes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from allgood.errors import ConfigError, DataError
from allgood.integrations.trl_sft import WeightedSFTTrainer
from pipelines.best_of_k.messages import said
from pipelines.best_of_k.pairs import best_and_worst
from pipelines.best_of_k.tilted import Tilting, tilted
from tests.actors.tiny_models import save_policy, tokenizer
from tests.allgood.integrations.rewards_for_trainers import MESSAGES
from tests.pipelines.best_of_k.test_pairs import pool
from tests.templates import CHATML

pytestmark = pytest.mark.slow  # with TRL's other tests in another process its import would be paid twice
ROOT = Path(__file__).parents[3]
SHARED: dict[str, Any] = {
    "per_device_train_batch_size": 2,
    "max_steps": 4,
    "logging_steps": 1,
    "learning_rate": 5e-3,
    "use_cpu": True,
    "bf16": False,
    "report_to": [],
    "save_strategy": "no",
    "disable_tqdm": True,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, and what best-of-k wrote for it."""
    folder = tmp_path_factory.mktemp("offline")
    save_policy(folder / "policy")
    template = tokenizer()
    template.chat_template = CHATML
    template.save_pretrained(folder / "policy")
    pairs = best_and_worst(pool(), first=None, min_utility=None).rows
    optimum = tilted(pool(), Tilting(0.3), first=None, seed=0)
    for name, rows in {"pairs": pairs, "tilted": optimum.drawn, "weighted": optimum.weighted}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def example() -> Any:
    return runpy.run_path(str(ROOT / "examples" / "trl_offline.py"))


def test_dpo_learns_to_prefer_the_chosen_answers(folder: Path, example: Any) -> None:
    trainer = example["dpo"](folder, str(folder / "policy"), output_dir=str(folder / "dpo"), **SHARED)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "rewards/margins" in entry]
    assert logged[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert logged[-1]["rewards/margins"] > 0.01


def test_the_weighted_loss_by_hand(folder: Path) -> None:
    rows = [
        {"prompt": MESSAGES[0], "completion": said("Mix flour."), "weight": 1.75},
        {"prompt": MESSAGES[1], "completion": said("The Danube, a river."), "weight": 0.25},
    ]
    trainer = weighted(folder, rows)
    trainer.model.eval()
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        logits = trainer.model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.log_softmax(-1)
        loss = float(trainer.compute_loss(trainer.model, dict(batch)))
    expected, tokens = 0.0, 0
    for row, weight in enumerate(batch["weight"].tolist()):
        kept = (batch["labels"][row] != -100).nonzero()[:, 0].tolist()
        tokens += len(kept)
        expected -= weight * sum(float(logits[row, i - 1, batch["labels"][row, i]]) for i in kept)
    assert sorted(batch["weight"].tolist()) == [0.25, 1.75]
    assert loss == pytest.approx(expected / tokens, rel=1e-5)


def test_equal_weights_are_the_loss_of_trl(folder: Path) -> None:
    rows = [{"prompt": MESSAGES[0], "completion": said(text), "weight": 1.0} for text in ("Mix flour.", "Bake it.")]
    ours = weighted(folder, rows, max_steps=2)
    plain = SFTTrainer(
        str(folder / "policy"),
        args=SFTConfig(output_dir=str(folder / "sft"), **SHARED | {"max_steps": 2}),
        train_dataset=Dataset.from_list(rows).remove_columns("weight"),
    )
    losses = []
    for trainer in (ours, plain):
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][1] < losses[0][0]


def test_heavy_answers_are_learned_and_light_ones_are_not(folder: Path, example: Any) -> None:
    trainer = example["sft"](folder, str(folder / "policy"), output_dir=str(folder / "weighted"), **SHARED)
    assert "weight" in trainer.train_dataset.column_names
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]


def test_packing_and_a_missing_column_are_refused(folder: Path) -> None:
    rows = [{"prompt": MESSAGES[0], "completion": said("Mix flour.")}] * 2
    with pytest.raises(DataError, match="the data set has no column 'weight'"):
        weighted(folder, rows)
    with pytest.raises(ConfigError, match="only the loss nll is weighted"):
        weighted(folder, [row | {"weight": 1.0} for row in rows], loss_type="dft")


def weighted(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> WeightedSFTTrainer:
    args = SFTConfig(output_dir=str(folder / "weighted"), **SHARED | settings)
    return WeightedSFTTrainer(str(folder / "policy"), args=args, train_dataset=Dataset.from_list(rows))
