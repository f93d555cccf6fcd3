"""Both sides of the check by hand: a policy whose samples are the SFT policy's own, and one in another prompt order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allgood.tilting import solve_gamma
from experiments.preview_check.design import CheckSetting
from experiments.preview_check.measure import Predictor, Trained, compare, in_order_of
from pipelines.comparison.arms import Arm, ArmRun
from pipelines.config.loading import changed_config
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.evaluation.measure import PolicySamples
from pipelines.references.cached_samples import load_cached_samples
from pipelines.references.table import ReferenceTable
from tests.pipelines.sweep.tiny_sweep import GOLD
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base, tiny_config

TARGET = 0.3


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    make_base(tmp_path)
    config = tiny_config(tmp_path, evaluate=GOLD, references={"num_samples": 16, "splits": ["test"]})
    write_references(config)
    return config


def predictor_of(config: RunConfig) -> Predictor:
    cached = load_cached_samples(config, "test")
    return Predictor.of(cached, ReferenceTable.load(config.base_folder / "references"), config.evaluate.bars)


def run_of(config: RunConfig, samples: Any = None) -> ArmRun:
    log = config.folder / "metrics.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    return ArmRun(Arm("tiny", "tiny", config), {"seconds": 1.0}, samples)


def test_a_policy_that_is_the_sft_policy_gains_nothing(config: RunConfig) -> None:
    predictor = predictor_of(config)
    utilities = predictor.utilities(config)
    at_target = changed_config(config, [f"kl.coefficient={solve_gamma(utilities, TARGET)}"])
    same = Trained(predictor.cached, torch.full((len(predictor.cached.prompt_ids),), TARGET))
    setting = CheckSetting("tiny", "tiny", at_target)
    entry = compare(predictor, setting, run_of(at_target), same, target_kl=TARGET)
    assert entry["predicted"]["mean"]["kl"] == pytest.approx(TARGET, rel=1e-3)
    assert entry["predicted"]["mean"]["utility"] > float(utilities.mean())
    assert entry["achieved"]["mean"]["utility"] == pytest.approx(float(utilities.mean()), rel=1e-5)
    assert entry["achieved"]["mean"]["gold_win_rate"] == pytest.approx(0.5)
    good = predictor.cached.all_good(config.evaluate.bars).mean(-1)
    assert entry["achieved"]["by_prompt"]["both_good"] == pytest.approx(good.tolist(), abs=1e-5)
    assert entry["at_measured_kl"]["efficiency"] == pytest.approx(0.0, abs=1e-5)
    assert entry["at_measured_kl"]["gold_gain_ratio"] == pytest.approx(0.0, abs=1e-5)


def test_the_samples_of_a_policy_stand_in_the_order_of_the_sft_policys(config: RunConfig) -> None:
    cached = load_cached_samples(config, "test")
    turned = list(reversed(range(len(cached.prompt_ids))))
    prompts = [Prompt(cached.prompt_ids[i], cached.prompts[i], "test", "tiny") for i in turned]
    samples = PolicySamples(
        prompt_ids=tuple(prompt.id for prompt in prompts),
        responses=tuple(cached.responses[i] for i in turned),
        gold={name: grid[turned].numpy() for name, grid in cached.gold.items()},
        kl=np.array([[float(i)] * cached.num_samples for i in turned]),
        finish_reasons=tuple(cached.finish_reasons[i] for i in turned),
        num_tokens=cached.num_tokens[turned].numpy(),
    )

    rewards = {name: grid[turned] for name, grid in cached.rewards.items()}
    found = in_order_of(cached, samples, rewards, prompts)
    assert found.kl.tolist() == [float(i) for i in range(len(turned))]
    for name in ("prompts", "responses", "finish_reasons"):
        assert getattr(found.samples, name) == getattr(cached, name)
    for name, grid in cached.rewards.items():
        assert torch.equal(found.samples.rewards[name], grid)
        assert torch.equal(found.samples.gold[name], cached.gold[name])
    assert torch.equal(found.samples.num_tokens, cached.num_tokens)
