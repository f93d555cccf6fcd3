"""Predicted references with a real reward model: prompts that were never sampled get one, and coverage is reported."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from actors.cluster.cast import Cast
from actors.reward import RewardSpec, RewardWorker
from allgood.errors import DataError, ModelError
from allgood.reference_head import fit
from allgood.scorers.spec import FunctionSpec, ModelSpec
from pipelines.alignment.setup import set_up
from pipelines.config.run import RunConfig
from pipelines.data import load_prepared
from pipelines.references.build import build_references
from pipelines.run.folder import RunFolder
from tests.actors.tiny_models import save_scorer
from tests.pipelines.tiny_run import liked, make_base, tiny_config


def predicting(folder: Path, *, sampled: int, prompts: str = "all") -> RunConfig:
    make_base(folder, {"alignment": 24, "validation": 4, "test": 4, "sft": 3, "reward": 3})
    reference = {"kind": "predicted", "quantile": 0.75, "prompts": prompts}
    references = {
        "num_samples": 4,
        "splits": ["alignment", "validation", "test"],
        "max_prompts": {"alignment": sampled},
    }
    return tiny_config(folder, properties={"liked": liked(folder) | {"reference": reference}}, references=references)


def test_prompts_that_were_never_sampled_get_a_predicted_quantile(tmp_path: Path, tiny_cast: Cast) -> None:
    config = predicting(tmp_path, sampled=20)
    manifest = build_references(config, tiny_cast)
    setup = set_up(config)
    assert len(setup.prompts) == 24  # though only 20 of them were sampled
    references = setup.treatments("arm")["liked"].references

    base = RunFolder(config.base_folder)
    prompts = load_prepared(base.data).prompts
    rows = pq.read_table(base.references / "samples.parquet").to_pylist()
    rewards: dict[str, list[float]] = {}
    for row in rows:
        rewards.setdefault(row["prompt_id"], []).append(row["reward.liked"])
    worker = RewardWorker(RewardSpec("liked", ModelSpec(config.properties["liked"].model, max_tokens=128)))
    features = torch.from_numpy(worker.prompt_features([prompt.text for prompt in prompts]))
    assert {prompt.id for prompt in prompts if prompt.split == "test"} < rewards.keys()  # sampled, and not learnt from
    sampled = [i for i, prompt in enumerate(prompts) if prompt.id in rewards and prompt.split == "alignment"]
    draws = torch.tensor([rewards[prompts[position].id] for position in sampled])
    predicted = fit(features[sampled], draws, seed=config.seed)(features)
    quantile = (predicted.mean + NormalDist().inv_cdf(0.75) * predicted.std).detach()
    expected = {prompt.id: float(value) for prompt, value in zip(prompts, quantile, strict=True)}
    for prompt in setup.prompts:
        np.testing.assert_allclose(references[prompt.id], expected[prompt.id], rtol=1e-3, atol=1e-4)

    coverage = manifest["predicted"]["liked"]
    assert (coverage["num_prompts"], coverage["num_held_out"]) == (16, 4)
    assert [entry["quantile"] for entry in coverage["quantiles"]] == [0.5, 0.75, 0.85, 0.95]


def test_too_few_sampled_prompts_are_refused(tmp_path: Path, tiny_cast: Cast) -> None:
    config = predicting(tmp_path, sampled=19)  # the 8 of the other splits do not count
    with pytest.raises(DataError, match="only 19 have all their samples"):
        build_references(config, tiny_cast)


def test_a_function_stands_on_the_features_of_an_encoder(tmp_path: Path, tiny_cast: Cast) -> None:
    encoder = save_scorer(tmp_path / "encoder")
    config = predicting(tmp_path, sampled=20)
    short = {
        "kind": "function",
        "function": "tests.pipelines.tiny_rewards:short",
        "reference": {"kind": "predicted", "encoder": encoder},
        "zero_is_a_score": True,
        "placement": {"cpus": 0.1},
    }
    properties = {"liked": config.properties["liked"].model_dump(mode="json"), "short": short}
    config = RunConfig.model_validate(config.model_dump(mode="json") | {"properties": properties})
    manifest = build_references(config, tiny_cast)
    assert list(manifest["predicted"]) == ["liked", f"short on {encoder}"]
    setup = set_up(config)
    references = setup.treatments("arm")["short"].references
    assert {prompt.id for prompt in setup.prompts} < references.keys()
    assert len(set(references.values())) > 5  # another one for each prompt


def test_a_function_has_no_features_of_its_own() -> None:
    worker = RewardWorker(RewardSpec("rule", FunctionSpec("tests.pipelines.tiny_rewards:short")))
    with pytest.raises(ModelError, match="kind function, which has no features; name an encoder"):
        worker.prompt_features(["x"])
    with pytest.raises(ModelError, match="does not exist"):
        worker.prompt_features(["x"], "./no/such/encoder")
