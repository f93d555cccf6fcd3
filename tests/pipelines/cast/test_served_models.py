"""Reward models that others serve: recognised when a run starts, and a whole run with one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from allgood.errors import ConfigError, ModelError, RoleError
from allgood.scorers.spec import HttpSpec
from pipelines.alignment.align import run_align
from pipelines.alignment.checkpoints import config_hash
from pipelines.cast.finished_models import refuse_unfit_models
from pipelines.cast.request import scorer_spec
from pipelines.cast.served_models import check_served_models
from pipelines.config.run import RunConfig
from pipelines.references.keys import scorer_keys
from tests.pipelines.tiny_run import cast_on_base, logged_rows, make_base, tiny_config
from tests.reward_server import RewardServer, reward_of, reward_server


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with reward_server() as running:
        yield running


def run(folder: Path, url: str, server: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    liked = {
        "kind": "http",
        "model": "judge",
        "dialect": "vllm_classify",
        "template": "none",
        "server": {"url": url, "deadline_s": 5.0} | (server or {}),
        "placement": {"cpus": 0.1},
    }
    return tiny_config(folder, properties={"liked": liked | changes})


def record(config: RunConfig) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((config.base_folder / "served" / "liked.json").read_text())
    return content


def test_the_first_meeting_is_kept_and_another_model_behind_the_name_refused(
    tmp_path: Path, server: RewardServer
) -> None:
    config = run(tmp_path, server.at("/classify"))
    refuse_unfit_models(config)
    first = record(config)
    assert first["served"] == "http:judge:vllm_classify:none"
    check_served_models(config)
    assert record(config) == first
    server.shift = 0.5
    with pytest.raises(ModelError, match=r"properties\.liked, http.*other rewards than before.*another `revision`"):
        check_served_models(config)
    renewed = run(tmp_path, server.at("/classify"), revision="v2")
    check_served_models(renewed)
    assert record(renewed)["rewards"] == pytest.approx([reward + 0.5 for reward in first["rewards"]])


def test_a_server_that_answers_nothing_or_refuses_is_found_before_anything_starts(
    tmp_path: Path, server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.failures = [503] * 1000
    with pytest.raises(ModelError, match="32 of 32 probe texts have no reward: .* gave no answer in 0.3 s"):
        check_served_models(run(tmp_path, server.at("/classify"), {"deadline_s": 0.3}))
    server.failures = [401]
    with pytest.raises(RoleError, match="refuses to answer"):
        check_served_models(run(tmp_path, server.at("/classify")))
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_TOKEN"):
        check_served_models(run(tmp_path, server.at("/classify"), {"token_env": "NO_SUCH_TOKEN"}))


def test_where_a_model_is_served_is_not_what_the_result_depends_on(tmp_path: Path) -> None:
    here, there = run(tmp_path, "http://here/classify"), run(tmp_path, "http://there/classify", {"batch_size": 1})
    assert config_hash(here) == config_hash(there) != config_hash(run(tmp_path, "http://here/classify", revision="2"))
    assert scorer_keys(here, "liked") == {"reward_model.liked": "http:judge:vllm_classify:none"}
    spec = scorer_spec(there, "liked")
    assert isinstance(spec, HttpSpec)
    assert (spec.source, spec.server.url, spec.server.batch_size) == ("judge", "http://there/classify", 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": "here"}, "`tokenizer` belongs to `template: here`"),
        ({"dialect": "sglang", "template": "server"}, "takes text, not messages"),
        ({"reference": {"kind": "predicted", "quantile": 0.85}}, "a served model shows none"),
        ({"server": {"url": "ftp://host"}}, "url"),
        ({"server": {"url": "http://me:secret@host"}}, "url"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        run(tmp_path, "http://host/classify", **changes)


@pytest.mark.service
def test_a_run_trains_on_served_rewards_and_counts_those_that_failed(
    ray_cluster: None, tmp_path: Path, server: RewardServer
) -> None:
    make_base(tmp_path)
    config = run(tmp_path, server.at("/classify"), {"batch_size": 4})
    changes = {"steps": 2, "samples_per_prompt": 8, "max_nan_share": 0.5, "evaluate_every": 2}
    config = config.model_copy(update={"align": config.align.model_copy(update=changes)})
    with cast_on_base(config) as cast:
        samples = pq.read_table(config.base_folder / "references" / "samples.parquet").to_pandas()
        texts = [f"{p} {r}".removesuffix(" ") for p, r in zip(samples["prompt"], samples["response"], strict=True)]
        np.testing.assert_allclose(samples["reward.liked"], [reward_of(text) for text in texts], rtol=1e-6)
        server.refuses = lambda text: "Question" in text and len(text) % 7 == 0
        run_align(config, cast)
    rows = logged_rows(config)
    assert [row["num_samples"] for row in rows] == [32, 32]
    assert sum(row["num_failed_scores.liked"] for row in rows) > 0
    assert all(row["num_dropped_samples"] >= row["num_failed_scores.liked"] for row in rows)
