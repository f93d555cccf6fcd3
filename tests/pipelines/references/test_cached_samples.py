"""Cached samples: what a run would make of them is bit for bit what its reward actor makes of the same texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from actors.messages import Chunk, Experience, LogProbs, Rollout, Scores
from actors.reward import RewardSpec, RewardWorker
from allgood.errors import ReferenceTableError
from allgood.scorers.spec import FunctionSpec
from pipelines.alignment.setup import set_up
from pipelines.cast.experience import judged
from pipelines.config.run import RunConfig
from pipelines.references.cached_samples import (
    CachedSamples,
    cached_utilities,
    judged_samples,
    load_cached_samples,
)
from pipelines.references.table import ReferenceTable
from pipelines.run.folder import RunFolder
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base, tiny_config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    config = make_base(tmp_path_factory.mktemp("cached"))
    write_references(config)
    return config


def table_of(config: RunConfig) -> ReferenceTable:
    return ReferenceTable.load(RunFolder(config.base_folder).references)


def rollout_of(cached: CachedSamples) -> Rollout:
    chunk = Chunk(0, 0, 0, 0, cached.prompt_ids, cached.prompts, cached.num_samples)
    responses = tuple(text for row in cached.responses for text in row)
    reasons = tuple(reason for row in cached.finish_reasons for reason in row)
    return Rollout(chunk, (), (), (), (), responses, reasons, 0, 0.0)


def scored_by_workers(config: RunConfig, cached: CachedSamples) -> tuple[dict[str, Scores], np.ndarray]:
    """Scores and combined utilities as a run gets them."""
    setup, rollout = set_up(config), rollout_of(cached)
    scores = {}
    for name, treatment in setup.treatments("arm").items():
        worker = RewardWorker(RewardSpec(name, FunctionSpec(config.properties[name].function)))
        worker.set_treatment(treatment)
        scores[name] = worker.score(rollout, "arm")
    found = judged([Experience(rollout, scores, LogProbs((), 0.0))], setup.all_good)
    return scores, found.utilities.reshape(-1, cached.num_samples)


def test_cached_utilities_are_those_of_the_reward_actor_and_the_objective(config: RunConfig) -> None:
    penalised = config.model_copy(update={"missing_eos_penalty": 0.5})
    cached = load_cached_samples(penalised, "alignment")
    found = judged_samples(penalised, cached, table_of(config))
    scores, combined = scored_by_workers(penalised, cached)
    np.testing.assert_array_equal(found.utilities, combined)
    for name, part in found.properties.items():
        for field in ("rewards", "references", "margins", "utilities"):
            np.testing.assert_array_equal(getattr(part, field).ravel(), getattr(scores[name].view, field))


DRAWS = {"kind": "draws", "num": 5}
MEAN = {"kind": "mean"}
MENU = [
    ({"kind": "identity"}, MEAN),
    ({"kind": "log_sigmoid"}, {"kind": "quantile", "quantile": 0.7, "method": "empirical"}),
    ({"kind": "log_sigmoid"}, {"kind": "median"}),
    ({"kind": "log_sigmoid"}, {"kind": "draws", "num": 1}),
    ({"kind": "sigmoid"}, {"kind": "quantile"}),
    ({"kind": "mean_sigmoid"}, DRAWS),
    ({"kind": "log_mean_sigmoid"}, DRAWS),
    ({"kind": "calibrated", "then": "identity"}, DRAWS),
    ({"kind": "calibrated"}, DRAWS),
    ({"kind": "calibrated", "then": "exp", "t": -3.0}, DRAWS),
    ({"kind": "prompt_z_score"}, DRAWS),
    ({"kind": "capped"}, {"kind": "quantile", "quantile": 0.9, "method": "empirical"}),
    ({"kind": "clip", "low": -0.5, "high": 0.25}, MEAN),
    ({"kind": "tanh", "scale": 0.5}, {"kind": "constant", "value": 0.5}),
    ({"kind": "z_score"}, {"kind": "none"}),
    ({"kind": "power", "risk_aversion": 0.25}, MEAN),
    ({"kind": "custom", "function": "tests.pipelines.tiny_rewards:doubled_margin"}, MEAN),
]


def with_property(config: RunConfig, **changes: object) -> RunConfig:
    """The run whose property `short` has other settings, and whose objective takes any utility."""
    values = config.model_dump()
    values["properties"]["short"] |= changes
    return RunConfig.model_validate(values | {"objective": {"kind": "weighted_sum"}})


@pytest.mark.parametrize(("transform", "reference"), MENU, ids=lambda setting: "-".join(map(str, setting.values())))
def test_every_transform_and_reference_is_the_same_in_preview_and_training(
    config: RunConfig, transform: dict[str, object], reference: dict[str, object]
) -> None:
    chosen = with_property(config, transform=transform, reference=reference)
    cached = load_cached_samples(chosen, "alignment")
    found = judged_samples(chosen, cached, table_of(config))
    scores, combined = scored_by_workers(chosen, cached)
    np.testing.assert_array_equal(found.utilities, combined)
    np.testing.assert_array_equal(found.properties["short"].utilities.ravel(), scores["short"].view.utilities)
    assert np.isfinite(combined).all()
    assert len(np.unique(combined)) > 10


def test_utilities_are_those_of_the_mathematics(config: RunConfig) -> None:
    chosen = with_property(config, transform={"kind": "log_mean_sigmoid"}, reference=DRAWS)
    cached = load_cached_samples(chosen, "alignment")
    rewards = cached.rewards["short"]
    found = judged_samples(chosen, cached, table_of(config)).properties["short"]
    # the draws are the prompt's first five samples
    expected = torch.sigmoid(rewards[:, :, None] - rewards[:, None, :5]).mean(-1).log()
    np.testing.assert_allclose(found.utilities, expected, rtol=1e-4)
    np.testing.assert_allclose(found.references, rewards[:, :5].mean(1, keepdim=True).expand(-1, 8), rtol=1e-6)
    scored = with_property(config, transform={"kind": "z_score"})
    everything = torch.cat(
        [load_cached_samples(config, split).rewards["short"] for split in ("alignment", "validation")]
    )
    utilities = judged_samples(scored, cached, table_of(config)).properties["short"].utilities
    np.testing.assert_allclose(utilities, (rewards - everything.mean()) / everything.std(), rtol=1e-4, atol=1e-5)


def test_a_formula_takes_every_log_probability(config: RunConfig) -> None:
    values = with_property(config, transform={"kind": "calibrated"}, reference=DRAWS).model_dump()
    chosen = RunConfig.model_validate(values | {"objective": {"kind": "formula"}})
    found = judged_samples(chosen, load_cached_samples(chosen, "alignment"), table_of(config))
    parts = sum(part.utilities.astype(np.float64) for part in found.properties.values())
    np.testing.assert_allclose(found.utilities, parts, rtol=1e-5)


def test_more_draws_than_samples_are_refused_with_the_prompt(config: RunConfig) -> None:
    chosen = with_property(config, transform={"kind": "mean_sigmoid"}, reference={"kind": "draws", "num": 9})
    with pytest.raises(ReferenceTableError, match=r"has 8 scored short samples .* fewer than the 9"):
        cached_utilities(chosen, load_cached_samples(chosen, "alignment"), table_of(config))


def test_samples_come_in_order_with_everything_that_was_kept(config: RunConfig) -> None:
    cached = load_cached_samples(config, "alignment")
    assert list(cached.prompt_ids) == sorted(cached.prompt_ids)
    assert len(cached.prompt_ids) == len(cached.prompts) == 10
    assert cached.num_samples == 8
    assert {len(row) for row in cached.responses} == {8}
    assert cached.rewards["short"].shape == cached.gold["vowels"].shape == cached.num_tokens.shape == (10, 8)
    assert cached.rewards["short"].dtype == torch.float64
    assert cached.evaluators == {}
    assert cached.was_cut.sum() == sum(reason == "length" for row in cached.finish_reasons for reason in row)


def test_only_the_prompts_asked_for_are_read(config: RunConfig) -> None:
    ids = load_cached_samples(config, "alignment").prompt_ids[2:5]
    assert load_cached_samples(config, "alignment", prompt_ids=[*ids, "unknown"]).prompt_ids == ids


def test_a_sample_is_all_good_at_or_over_every_bar_and_a_missing_score_is_over_none(config: RunConfig) -> None:
    short = torch.tensor([[1.0, 0.9, 1.0], [2.0, torch.nan, 1.0]]).double()
    vowels = torch.tensor([[0.0, 5.0, -0.1], [0.0, 5.0, 0.0]]).double()
    gold = {"short": short, "vowels": vowels, "without a bar": torch.full_like(short, -9.0)}
    found = replace(load_cached_samples(config, "validation"), gold=gold).all_good({"short": 1.0, "vowels": 0.0})
    assert found.tolist() == [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]


def test_samples_of_another_policy_or_setting_are_refused_by_key(config: RunConfig) -> None:
    other = config.model_copy(update={"sampling": config.sampling.model_copy(update={"max_new_tokens": 11})})
    with pytest.raises(ReferenceTableError, match=r"sampling\.max_new_tokens: table 12, run 11"):
        load_cached_samples(other, "validation")


def test_a_split_that_was_not_sampled_is_named(config: RunConfig) -> None:
    with pytest.raises(ReferenceTableError, match=r"no samples of the test split .*alignment, validation"):
        load_cached_samples(config, "test")


def rewritten(config: RunConfig, folder: Path, change: Callable[[pa.Table], pa.Table]) -> RunConfig:
    """The run on a base whose cached samples were changed and signed again."""
    base = make_base(folder)
    write_references(base, change=change)
    return tiny_config(folder)


def test_one_sample_per_prompt_is_refused(config: RunConfig, tmp_path: Path) -> None:
    alone = rewritten(config, tmp_path, lambda rows: rows.filter(pc.equal(rows["sample"], 0)))
    with pytest.raises(ReferenceTableError, match=r"1 sample; at least 2 .*references\.num_samples"):
        load_cached_samples(alone, "validation")


def test_a_failed_score_stays_missing(config: RunConfig, tmp_path: Path) -> None:
    def fail(rows: pa.Table) -> pa.Table:
        column = rows["reward.short"].to_numpy().copy()
        column[3] = np.nan
        return rows.set_column(rows.column_names.index("reward.short"), "reward.short", pa.array(column))

    broken = rewritten(config, tmp_path, fail)
    cached = load_cached_samples(broken, "alignment")
    found = judged_samples(broken, cached, table_of(broken))
    assert int(found.failed.sum()) == 1
    assert torch.equal(torch.isnan(cached_utilities(broken, cached, table_of(broken))), torch.from_numpy(found.failed))
    assert np.isnan(found.properties["short"].utilities).sum() == 1
    assert not np.isnan(found.properties["vowels"].utilities).any()
    assert pq.read_table(RunFolder(broken.base_folder).references / "samples.parquet").num_rows == 14 * 8
