"""What kept samples of the SFT policy depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.evaluation.measure import PolicySamples
from pipelines.evaluation.samples import ScoredSamples, load_samples, save_samples, sft_key
from pipelines.references.judge_keys import judge_keys
from tests.pipelines.tiny_run import make_base, tiny_config


def test_samples_that_an_earlier_version_of_the_gold_scored_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_base(tmp_path)
    code = tmp_path / "users_gold.py"
    code.write_text("def gold(prompts, responses):\n    return {'short': [1.0 for _ in responses]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny_config(tmp_path, evaluate={"gold": "users_gold:gold", "bars": {"short": 0.0}})
    before = sft_key(config, [], judge_keys(config))
    assert sft_key(config, [], judge_keys(config)) == before
    code.write_text(code.read_text().replace("1.0", "2.0"))
    assert sft_key(config, [], judge_keys(config)) != before


def scored_samples() -> ScoredSamples:
    grid = np.array([[0.5, np.nan, 2.0], [1.0, -1.0, 0.0]])
    policy = PolicySamples(
        prompt_ids=("a", "b"),
        responses=(("one", "two", "three"), ("four", "five", "six")),
        gold={"short": grid},
        kl=grid + 1.0,
        finish_reasons=(("eos", "stop", "length"), ("eos", "eos", "eos")),
        num_tokens=np.arange(6).reshape(2, 3),
    )
    return ScoredSamples(("A", "B"), policy, {"short": 2 * grid, "evaluator.short": 3 * grid})


def assert_equal(first: ScoredSamples, second: ScoredSamples) -> None:
    assert (first.prompts, first.policy.responses) == (second.prompts, second.policy.responses)
    assert first.scores.keys() == second.scores.keys()
    np.testing.assert_array_equal(first.policy.gold["short"], second.policy.gold["short"])
    for name, grid in first.scores.items():
        np.testing.assert_array_equal(grid, second.scores[name])


def test_stored_samples_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    save_samples(scored_samples(), path)
    assert {"prompt_id", "reward.short", "evaluator.short", "gold.short"} <= set(pq.read_schema(path).names)
    assert_equal(load_samples(path), scored_samples())


def test_samples_that_the_first_version_stored_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    save_samples(scored_samples(), path)
    table = pq.read_table(path)
    old = {"reward.short": "score.short", "evaluator.short": "score.evaluator.short"}
    pq.write_table(table.rename_columns([old.get(name, name) for name in table.column_names]), path)
    assert_equal(load_samples(path), scored_samples())
