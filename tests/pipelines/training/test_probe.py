from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel

from allgood.errors import ConfigError
from pipelines.training.probe import fit, train_probe
from pipelines.training.rows import Ragged
from pipelines.training.scoring import mean_pooled
from tests.actors import tiny_models
from tests.pipelines.tiny_training import reward_training, tiny_run


class Counter:
    total = 0

    def advance(self, n: int = 1, status: str = "") -> None:
        self.total += n


def test_mean_pooling_leaves_padding_out(tmp_path):
    model = AutoModel.from_pretrained(tiny_models.save_scorer(tmp_path / "encoder")).eval()
    rows, counter = Ragged.of([[5, 6, 7, 8], [9, 10]]), Counter()
    pooled = mean_pooled(model, rows, pad_token=0, bar=counter)
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([[9, 10]])).last_hidden_state.mean(1)[0].numpy()
    np.testing.assert_allclose(pooled[1], alone, atol=1e-5)
    assert counter.total == 2


def test_the_head_finds_the_direction_that_wins():
    generator = np.random.default_rng(0)
    truth = np.array([2.0, 0.0, -1.0])
    features = generator.normal(size=(4000, 3))
    wins = generator.random(4000) < 1 / (1 + np.exp(-features @ truth))
    differences = np.where(wins[:, None], features, -features)
    weights, penalty = fit(differences[:3000], differences[3000:])
    np.testing.assert_allclose(weights, truth, atol=0.2)
    assert penalty <= 1e-2


def test_a_probe_reports_beside_the_reward_model(tmp_path):
    source = tiny_models.save_scorer(tmp_path / "encoder")
    train = reward_training(backbone=source, max_tokens=128)
    config = tiny_run(tmp_path, properties={"helpful": {"kind": "model", "train": train}})
    report = train_probe(config, "helpful")
    assert report["accuracy"] > 0.9
    assert json.loads((config.base_folder / "reward" / "helpful" / "probe.json").read_text()) == report


def test_the_sft_policy_is_no_encoder_to_probe(tmp_path):
    with pytest.raises(ConfigError, match="a probe needs an encoder"):
        train_probe(tiny_run(tmp_path), "helpful")
