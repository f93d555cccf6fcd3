"""Samples of a policy on test prompts with all that is said about them: drawn through actors, kept as parquet."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.cluster.cast import CastRequest, Part, spawn
from actors.learning.sequence_kl import sequence_k1
from actors.messages import Chunk, Experience
from actors.rollout import RolloutSpec
from allgood.errors import DataError
from allgood.treatment import Treatment
from pipelines.cast.actors import Actors, SharedActors
from pipelines.cast.collect import collect_all, make_chunks, purpose_seed
from pipelines.cast.experience import merged_scores, texts
from pipelines.cast.lane import Lane
from pipelines.cast.request import (
    EVALUATOR,
    evaluator_parts,
    limits_of,
    reference_policy_part,
    reward_parts,
    rollout_part,
)
from pipelines.cast.sample_rows import of_property, sample_rows, score_columns
from pipelines.cast.stored_models import with_stored_models
from pipelines.cast.threads import with_run_threads
from pipelines.config.properties import ClassifierProperty
from pipelines.config.run import RunConfig
from pipelines.data import Prompt, load_prepared
from pipelines.data.prompt_order import of_split
from pipelines.evaluation.estimates import PerPrompt
from pipelines.evaluation.measure import FloatGrid, PolicySamples
from pipelines.objective.gold import gold_of
from pipelines.objective.guards import refuse_failing_scorers
from pipelines.output.files import atomic_path, one_after_another
from pipelines.output.progress import say, track
from pipelines.references.build import mean_rewards, texts_of
from pipelines.references.judge_keys import judge_keys
from pipelines.references.keys import table_keys
from pipelines.run.folder import SFT_SAMPLES, RunFolder

_KEY = "evaluation"
_METADATA = b"allgood"
_FIRST_SCORES = "score."  # version 0.1: "score.helpful", "score.evaluator.helpful"


@dataclass(frozen=True)
class ScoredSamples:
    """A policy's samples. `scores` are raw: by property, and of held-out models as "evaluator.<property>"."""

    prompts: tuple[str, ...]
    policy: PolicySamples
    scores: Mapping[str, FloatGrid]

    @property
    def rewards(self) -> dict[str, FloatGrid]:
        """Raw rewards of the training reward models, per property."""
        return {name: grid for name, grid in self.scores.items() if not name.startswith(EVALUATOR)}

    @property
    def evaluators(self) -> dict[str, FloatGrid]:
        """Scores of the held-out preference models that exist, per property."""
        return {name.removeprefix(EVALUATOR): grid for name, grid in self.scores.items() if name.startswith(EVALUATOR)}


def evaluation_request(config: RunConfig) -> CastRequest:
    """Rollout actors with the run's aligned policy, the reference policy, every scorer."""
    rollout = rollout_part(config)
    assert isinstance(rollout.spec, RolloutSpec)
    aligned = replace(rollout.spec, model=str(RunFolder(config.folder).model.absolute()))
    return CastRequest(
        rollout=Part(aligned, rollout.resources),
        rewards=reward_parts(config) | evaluator_parts(config),
        reference_policy=reference_policy_part(config),
        timeout_s=config.placement.timeout_s,
        wait_for_nodes_s=config.placement.wait_for_nodes_s,
    )


def test_prompts(config: RunConfig) -> list[Prompt]:
    """The prompts of an evaluation: the first `evaluate.prompts` of the test split.

    Raises:
        DataError: The test split is empty.
    """
    folder = RunFolder(config.base_folder).data
    prompts = of_split(load_prepared(folder).prompts, "test")
    if not prompts:
        raise DataError(f"{folder} has no test prompts; raise data.splits.test and prepare again")
    return prompts[: config.evaluate.prompts]


@dataclass(frozen=True)
class Drawn:
    """Samples of both policies, and per property with canned references its replies' mean reward, [prompts]."""

    aligned: ScoredSamples
    sft: ScoredSamples
    canned: Mapping[str, PerPrompt]


def draw_samples(config: RunConfig, prompts: Sequence[Prompt]) -> Drawn:
    """Sample the aligned policy, and pi_0 unless an evaluation with the same models has left its samples."""
    config = with_run_threads(config)
    with spawn(with_stored_models(config, evaluation_request(config)), tell=say) as cast:
        aligned = asyncio.run(_draw(config, cast, prompts, is_reference=False))
        canned = asyncio.run(_canned(config, cast, prompts))
        return Drawn(aligned, _sft(config, cast, prompts), canned)


def _sft(config: RunConfig, cast: Actors, prompts: Sequence[Prompt]) -> ScoredSamples:
    base = RunFolder(config.base_folder)
    with one_after_another(base.path / ".sft_samples.lock"):  # runs on one base share them
        return _sft_of_base(config, cast, prompts, base.evaluation / SFT_SAMPLES)


def _sft_of_base(config: RunConfig, cast: Actors, prompts: Sequence[Prompt], path: Path) -> ScoredSamples:
    key = sft_key(config, prompts, judge_keys(config))
    if path.is_file() and key_of(path) == key:
        say(f"samples of the start policy from an earlier evaluation: {path}")
        return load_samples(path)
    request = CastRequest(rollout=rollout_part(config), timeout_s=config.placement.timeout_s)
    with spawn(with_stored_models(config, request), tell=say) as own:
        samples = asyncio.run(_draw(config, SharedActors(own, cast), prompts, is_reference=True))
    save_samples(samples, path, key=key)
    return samples


async def _draw(config: RunConfig, cast: Actors, prompts: Sequence[Prompt], *, is_reference: bool) -> ScoredSamples:
    lane = Lane(cast, key=_KEY, scorers=cast.scorers, limits=limits_of(config))
    await lane.treat({name: Treatment(_KEY, _transform(config, name), 0.0) for name in cast.scorers})
    chunks = evaluation_chunks(config, prompts, policy_version=0, is_reference=is_reference)
    crew = await lane.crew_of_reference_policy() if is_reference else lane.crew()
    with track(f"sampling the {'start' if is_reference else 'aligned'} policy on test prompts", len(prompts)) as bar:
        experience = await collect_all(chunks, crew, bar.advance)
    refuse_failing_scorers(merged_scores(experience), max_share=config.align.max_nan_share)
    return _scored_samples(config, prompts, experience)


def evaluation_chunks(
    config: RunConfig, prompts: Sequence[Prompt], *, policy_version: int, is_reference: bool
) -> list[Chunk]:
    """The chunks of an evaluation's samples, of the start policy (`is_reference`) or of an aligned one."""
    evaluate = config.evaluate
    return make_chunks(
        prompts,
        seed=purpose_seed(config.seed, "evaluation"),
        step=0 if is_reference else 1,  # other random numbers: a win rate compares independent samples
        policy_version=policy_version,
        samples_per_prompt=evaluate.sft_samples_per_prompt if is_reference else evaluate.samples_per_prompt,
        prompts_per_chunk=config.sampling.prompts_per_chunk,
    )


async def _canned(config: RunConfig, cast: Actors, prompts: Sequence[Prompt]) -> dict[str, PerPrompt]:
    """Mean rewards of the texts that a property's reference names, canned or from the data, [prompts]; NaN = none."""
    lane = Lane(cast, key=_KEY, scorers=cast.scorers, limits=limits_of(config))
    canned: dict[str, PerPrompt] = {}
    for name, setting in config.properties.items():
        if setting.reference.column is not None:
            data = load_prepared(RunFolder(config.base_folder).data)
            means = await mean_rewards(lane, name, prompts, texts_of(setting.reference, name, prompts, data))
            canned[name] = np.array([means.get(prompt.id, np.nan) for prompt in prompts])
    return canned


def _transform(config: RunConfig, name: str) -> str:
    """Raw rewards are wanted; the log-probabilities of a classifier keep their own transform, which checks them."""
    return "log_prob" if isinstance(config.properties.get(name), ClassifierProperty) else "identity"


def _scored_samples(config: RunConfig, prompts: Sequence[Prompt], experience: Sequence[Experience]) -> ScoredSamples:
    policy = policy_samples(config, prompts, experience)
    scores = {
        name: np.concatenate([chunk.scores[name].view.rewards for chunk in experience]).astype(np.float64)
        for name in experience[0].scores
    }
    return ScoredSamples(
        tuple(prompt.text for prompt in prompts),
        policy,
        {name: values.reshape(policy.kl.shape) for name, values in scores.items()},
    )


def policy_samples(config: RunConfig, prompts: Sequence[Prompt], experience: Sequence[Experience]) -> PolicySamples:
    """What was collected on `prompts`, in their order, with its KL and, where gold exists, its gold."""
    rollouts = [chunk.rollout for chunk in experience]
    shape = (len(prompts), rollouts[0].chunk.samples_per_prompt)
    asked, responses = texts(experience)
    gold = gold_of(config)
    gold_scores = gold.score(asked, responses) if gold else {}
    kl = sequence_k1(
        [row for rollout in rollouts for row in rollout.logprobs],
        [row for chunk in experience for row in chunk.reference.rows],
    )
    return PolicySamples(
        prompt_ids=tuple(prompt.id for prompt in prompts),
        responses=_rows(responses, shape[1]),
        gold={name: np.asarray(values, dtype=np.float64).reshape(shape) for name, values in gold_scores.items()},
        kl=kl.reshape(shape),
        finish_reasons=_rows([reason for rollout in rollouts for reason in rollout.finish_reasons], shape[1]),
        num_tokens=np.array([len(tokens) for x in rollouts for tokens in x.response_tokens]).reshape(shape),
    )


def _rows(flat: Sequence[str], width: int) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(flat[start : start + width]) for start in range(0, len(flat), width))


def save_samples(samples: ScoredSamples, path: Path, *, key: bytes = b"") -> None:
    """One parquet row per (prompt, sample), prompt-major."""
    table = pa.Table.from_pylist(sample_rows(_columns(samples))).replace_schema_metadata({_METADATA: key})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def _columns(samples: ScoredSamples) -> dict[str, Any]:
    policy = samples.policy
    num_prompts, width = policy.kl.shape
    return {
        "prompt_id": [prompt_id for prompt_id in policy.prompt_ids for _ in range(width)],
        "sample": list(range(width)) * num_prompts,
        "prompt": [prompt for prompt in samples.prompts for _ in range(width)],
        "response": [response for row in policy.responses for response in row],
        "finish_reason": [reason for row in policy.finish_reasons for reason in row],
        "num_tokens": policy.num_tokens.ravel(),
        "kl": policy.kl.ravel(),
        **of_property("gold", {name: grid.ravel() for name, grid in policy.gold.items()}),
        **score_columns({name: grid.ravel() for name, grid in samples.scores.items()}),
    }


def load_samples(path: Path) -> ScoredSamples:
    """What `save_samples` wrote."""
    columns = pq.read_table(path).to_pydict()
    width = 1 + max(columns["sample"])

    def grid(name: str) -> FloatGrid:
        values = [np.nan if value is None else value for value in columns[name]]
        return np.array(values, dtype=np.float64).reshape(-1, width)

    policy = PolicySamples(
        prompt_ids=tuple(columns["prompt_id"][::width]),
        responses=_rows(columns["response"], width),
        gold={name.removeprefix("gold."): grid(name) for name in columns if name.startswith("gold.")},
        kl=grid("kl"),
        finish_reasons=_rows(columns["finish_reason"], width),
        num_tokens=np.array(columns["num_tokens"], dtype=np.int64).reshape(-1, width),
    )
    scores = {
        name.removeprefix("reward.").removeprefix(_FIRST_SCORES): grid(name)
        for name in columns
        if name.startswith(("reward.", EVALUATOR, _FIRST_SCORES))
    }
    return ScoredSamples(tuple(columns["prompt"][::width]), policy, scores)


def key_of(path: Path) -> bytes | None:
    """The key that stored samples were saved with."""
    found: bytes | None = (pq.read_schema(path).metadata or {}).get(_METADATA)
    return found


def sft_key(config: RunConfig, prompts: Sequence[Prompt], judges: Mapping[str, Any]) -> bytes:
    """What the pi_0 samples of test prompts and their scores depend on; `judges` are those whose scores are kept."""
    content = {
        **table_keys(config, list(config.properties)),
        "judges": dict(judges),
        "seed": config.seed,
        "num_samples": config.evaluate.sft_samples_per_prompt,
        "prompts_per_chunk": config.sampling.prompts_per_chunk,
        "prompts": [prompt.id for prompt in prompts],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest().encode()
