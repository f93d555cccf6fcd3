"""Samples of pi_0 for prompts that no table knows, by a real service and by actors; replicas are added under load."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import ray

from actors.cluster.actor_scorer import ActorSettings, reward_actors
from actors.cluster.placement import Resources
from actors.generation.seeds import prompt_seed
from actors.rollout import RolloutWorker
from actors.start_policy import prompt_chunk, rollout_spec
from allgood.conversations import prompt_id
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.fresh_references import reference_of_samples
from allgood.scorers.loading import load_scorer
from allgood.scorers.rewards_file import read_rewards
from allgood.scorers.served_scorer import ServedScorer
from pipelines.serve.run import serving
from pipelines.serve.settings import SamplesSettings, ScorerSettings, ServeSettings
from tests.actors.tiny_models import save_policy
from tests.pipelines.serve.conftest import TEA

pytestmark = pytest.mark.service

MATE = "\n\nHuman: What is mate?\n\nAssistant:"


@pytest.fixture(scope="module")
def sampled(rewards: Path) -> Path:
    """An objective whose reward model takes references of unknown prompts from samples."""
    save_policy(rewards.with_name("policy"), spread=2.0)
    file = rewards.with_name("sampled.yaml")
    file.write_text(
        """
properties:
  liked:
    model: scorer
    device: cpu
    reference: {kind: samples, estimator: gaussian_quantile, quantile: 0.85, file: table.safetensors}
  brief:
    kind: function
    function: tests.pipelines.tiny_rewards:slow_short
    reference: {kind: constant, value: 0.0}
start_policy: {model: policy, num_samples: 6, seed: 11, max_new_tokens: 10, max_prompt_tokens: 40, device: cpu}
""",
        encoding="utf-8",
    )
    return file


@pytest.fixture(scope="module")
def client(sampled: Path, ray_cluster: None) -> Iterator[httpx.Client]:
    alone = ScorerSettings(resources=Resources(cpus=0.0))
    settings = ServeSettings(
        port=0,
        name="fresh",
        scorer=alone,
        scorers={"brief": alone.model_copy(update={"max_replicas": 2, "upscale_delay_s": 0.5})},
        samples=SamplesSettings(resources=Resources(cpus=0.0)),
    )
    with serving(sampled, settings) as url, httpx.Client(base_url=url, timeout=120.0) as client:
        yield client


def rows_of(client: httpx.Client, *prompts: str) -> list[dict[str, Any]]:
    body = {"rows": [{"prompt": prompt, "response": "A drink made of leaves."} for prompt in prompts]}
    answer = client.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


def num_sampled(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("allgood_sampled_prompts_total")))


def test_an_unknown_prompt_is_sampled_once_and_its_reference_is_that_of_these_samples(
    client: httpx.Client, sampled: Path
) -> None:
    tea, mate, again = (row["properties"]["liked"] for row in rows_of(client, TEA, MATE, MATE))
    assert (tea["reference"], tea["reference_from"]) == (0.25, "table")
    assert mate["reference_from"] == "samples"
    assert again == mate
    assert num_sampled(client) == 1
    assert rows_of(client, MATE)[0]["properties"]["liked"]["reference"] == mate["reference"]
    assert num_sampled(client) == 1  # it is remembered
    spec = read_rewards(sampled)
    assert spec.start_policy is not None
    key = prompt_id(MATE)
    chunk = prompt_chunk(key, MATE, num_samples=6, seed=prompt_seed(11, key))
    responses = RolloutWorker(rollout_spec(spec.start_policy, threads=1)).generate(chunk).responses
    rewards = load_scorer(spec.properties["liked"].scorer).score([MATE] * 6, responses).rewards
    expected = reference_of_samples(spec.sampled["liked"], key, rewards).values[key]
    np.testing.assert_allclose(mate["reference"], expected, atol=1e-5)


def test_local_models_actors_and_the_service_give_the_same_numbers(client: httpx.Client, sampled: Path) -> None:
    messages = [{"role": "user", "content": "What is mate?"}]
    prompts: list[Any] = [TEA, messages, TEA, TEA, "<|im_start|>user\nHi<|im_end|>"]
    responses = ["A drink made of leaves.", "Leaves in a gourd.", "A beverage.", "word " * 1500, "Hi."]
    spec = read_rewards(sampled)
    local = AllGoodScorer(spec).score(prompts, responses)
    served = ServedScorer.at(str(client.base_url)).score(prompts, responses)
    few = Resources(cpus=0.1)
    with reward_actors(spec, ActorSettings({"liked": few, "brief": few}, start_policy=few)) as scorer:
        acted = pickle.loads(pickle.dumps(scorer)).score(prompts, responses)
    found_by = ("table", "samples", "table", "table", "nowhere")  # the last prompt cannot be read
    assert acted.reference_from["liked"] == served.reference_from["liked"] == found_by
    assert local.reference_from["liked"] == ("table", "nowhere", "table", "table", "nowhere")
    assert acted.reasons == served.reasons
    assert acted.ok.tolist() == served.ok.tolist() == [True, True, True, False, False]
    known = np.array([True, False, True, True, True])  # locally nobody draws samples
    assert [reason for reason, is_known in zip(acted.reasons, known, strict=True) if is_known] == [
        reason for reason, is_known in zip(local.reasons, known, strict=True) if is_known
    ]
    for name in spec.properties:
        for part in ("rewards", "references", "margins", "utilities", "p_good"):
            by_actors = getattr(acted.properties[name], part)
            np.testing.assert_allclose(getattr(served.properties[name], part), by_actors, atol=1e-5)
            np.testing.assert_allclose(getattr(local.properties[name], part)[known], by_actors[known], atol=1e-5)
    np.testing.assert_allclose(served.total, acted.total, atol=1e-5)
    np.testing.assert_allclose(local.total[known], acted.total[known], atol=1e-5)


def test_what_is_served_says_where_references_come_from(client: httpx.Client) -> None:
    [objective] = client.get("/v1/objectives").json()["objectives"]
    assert objective["properties"]["liked"]["references"] == ["table", "samples"]


def num_replicas() -> int:
    actors = ray.util.list_named_actors(all_namespaces=True)
    return sum(actor["name"].startswith("SERVE_REPLICA::allgood-brief-") for actor in actors)


def test_replicas_are_added_under_load(client: httpx.Client) -> None:
    assert num_replicas() == 1
    end = time.monotonic() + 120.0
    with ThreadPoolExecutor(24) as pool:
        while num_replicas() < 2:
            assert time.monotonic() < end, "Serve added no replica"
            list(pool.map(lambda _: rows_of(client, TEA), range(48)))
    assert rows_of(client, TEA)[0]["ok"]
