"""Raw rewards of any responses by a run's reward actors, in parts that survive a kill.

A part is a few whole prompts. It is written when it is scored, atomically; started again, only missing parts are
scored. What the numbers depend on (texts, models, templates, limits) is kept alongside the parts, and parts of other
texts or models are refused. Rewards are raw, so parts do not depend on references, transform or objective; scores of
canned replies lie in files of their own, named after the replies, so that other replies cost no other score.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.cluster.cast import CastRequest
from actors.cluster.gather import gather
from actors.messages import FloatRow
from allgood.errors import DataError
from pipelines.answers.reading import Answered, flat
from pipelines.cast.actors import Actors, cast_for
from pipelines.cast.lane import PROBE, Lane
from pipelines.cast.request import limits_of, reward_parts
from pipelines.config.references import canned_key
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path, write_json
from pipelines.output.progress import Bar, say, track
from pipelines.references.build import mean_of_known
from pipelines.references.keys import scorer_keys

ROWS_PER_PART = 256
KEYS = "keys.json"

Part = Sequence[Answered]
Columns = dict[str, FloatRow]


@dataclass(frozen=True)
class _Task:
    """A file of scores that is missing, and how to make it; `num_texts` are scored for it."""

    path: Path
    num_texts: int
    score: Callable[[Lane], Awaitable[Columns]]


@dataclass(frozen=True)
class RawRewards:
    """Per property: rewards of all rows, prompt by prompt, [rows]; mean rewards of canned replies, [prompts].

    NaN = scoring failed. `canned` holds the properties whose reference is canned, where they were asked for.
    """

    rewards: Mapping[str, FloatRow]
    canned: Mapping[str, FloatRow]


def raw_rewards(
    config: RunConfig, answers: Sequence[Answered], folder: Path, cast: Actors | None = None, *, canned: bool
) -> RawRewards:
    """Score all responses, or what is missing of them in `folder`; `canned` also scores canned replies.

    Raises:
        DataError: `folder` holds parts of other texts, or of other models.
        ModelError: A reward model is missing or gives other rewards in a batch than alone.
    """
    parts = parts_of(answers)
    replies = _replies(config) if canned else {}
    _check_keys(folder, _keys(config, parts))
    tasks = _tasks(config, parts, replies, folder)
    missing = [task for task in tasks if not task.path.is_file()]
    if missing:
        if len(missing) < len(tasks):
            say(f"{len(tasks) - len(missing)} of {len(tasks)} parts are scored already: {folder}")
        with cast_for(config, _request, cast) as kept:
            finished = sum(task.num_texts for task in tasks) - sum(task.num_texts for task in missing)
            asyncio.run(_score_missing(config, kept, parts[0][0].prompt, missing, finished))
    indices = range(len(parts))
    rewards = _columns_of([_path(folder, index) for index in indices])
    means = {name: [_canned_path(folder, name, texts, index) for index in indices] for name, texts in replies.items()}
    return RawRewards(
        rewards={name: rewards[f"reward.{name}"] for name in config.properties},
        canned={name: _columns_of(paths)[f"canned.{name}"] for name, paths in means.items()},
    )


def _request(config: RunConfig) -> CastRequest:
    return CastRequest(
        rewards=reward_parts(config),
        timeout_s=config.placement.timeout_s,
        wait_for_nodes_s=config.placement.wait_for_nodes_s,
    )


def parts_of(answers: Sequence[Answered]) -> list[list[Answered]]:
    """Whole prompts in order, at least `ROWS_PER_PART` responses to a part but for the last."""
    parts: list[list[Answered]] = []
    room = 0
    for answered in answers:
        if room <= 0:
            parts.append([])
            room = ROWS_PER_PART
        parts[-1].append(answered)
        room -= len(answered.responses)
    return parts


def _tasks(config: RunConfig, parts: Sequence[Part], replies: Mapping[str, Sequence[str]], folder: Path) -> list[_Task]:
    """Every file of scores, finished ones too: rewards of each part, then the canned replies to its prompts."""
    tasks = []
    for index, part in enumerate(parts):
        score = partial(_score_part, part=part, names=list(config.properties))
        tasks.append(_Task(_path(folder, index), sum(len(answered.responses) for answered in part), score))
        for name, texts in replies.items():
            path = _canned_path(folder, name, texts, index)
            tasks.append(_Task(path, len(part) * len(texts), partial(_score_canned, part=part, name=name, texts=texts)))
    return tasks


async def _score_missing(config: RunConfig, cast: Actors, prompt: str, missing: Sequence[_Task], finished: int) -> None:
    """Score what is missing; `finished` texts have scores already, and `prompt` serves to try the scorers."""
    lane = Lane(cast, key="answers", scorers=list(config.properties), limits=limits_of(config))
    await lane.check_scores([prompt] * len(PROBE), PROBE)
    # Parts go round in order, few more than there are replicas: a kill then costs a few parts, not a little of each.
    in_flight = asyncio.Semaphore(1 + max(len(cast.handles(f"reward.{name}")) for name in config.properties))

    async def one(task: _Task, bar: Bar) -> None:
        async with in_flight:
            columns = await task.score(lane)
        with atomic_path(task.path) as temporary:
            pq.write_table(pa.table(columns), temporary)
        bar.advance(task.num_texts)

    with track("scoring responses", finished + sum(task.num_texts for task in missing)) as bar:
        bar.advance(finished)
        await gather(one(task, bar) for task in missing)


async def _score_part(lane: Lane, *, part: Part, names: Sequence[str]) -> Columns:
    prompts, responses = flat(part)
    rewards = await gather(lane.score_texts(name, prompts, responses) for name in names)
    return {f"reward.{name}": row for name, row in zip(names, rewards, strict=True)}


async def _score_canned(lane: Lane, *, part: Part, name: str, texts: Sequence[str]) -> Columns:
    """The mean reward of each prompt's replies that could be scored, [prompts]; NaN where none could."""
    prompts = [answered.prompt for answered in part for _ in texts]
    scored = await lane.score_texts(name, prompts, [text for _ in part for text in texts])
    means = [mean_of_known(rewards) for rewards in scored.reshape(len(part), len(texts)).tolist()]
    return {f"canned.{name}": np.array(means, dtype=np.float32)}


def _columns_of(paths: Sequence[Path]) -> Columns:
    """The columns of several files, one after the other."""
    tables = [pq.read_table(path) for path in paths]
    return {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in tables[0].column_names}


def _keys(config: RunConfig, parts: Sequence[Part]) -> dict[str, Any]:
    texts = hashlib.sha256()
    for part in parts:
        for answered in part:
            texts.update(json.dumps([answered.prompt, *answered.responses], ensure_ascii=False).encode())
        texts.update(b"\n")
    keys: dict[str, Any] = {"texts": texts.hexdigest()}
    for name in config.properties:
        keys |= scorer_keys(config, name)
    return keys


def _check_keys(folder: Path, keys: Mapping[str, Any]) -> None:
    """Refuse parts that belong to something else; a folder without keys is begun."""
    path = folder / KEYS
    if not path.is_file():
        write_json(path, dict(keys))
        return
    kept = json.loads(path.read_text(encoding="utf-8"))
    differing = sorted(name for name in {*kept, *keys} if kept.get(name) != keys.get(name))
    if differing:
        raise DataError(
            f"{folder} holds scores of another run or another file (they differ in {', '.join(differing)}); "
            "delete that folder, or give another output"
        )


def _replies(config: RunConfig) -> dict[str, list[str]]:
    references = {name: setting.reference for name, setting in config.properties.items()}
    return {name: list(ref.fixed_replies) for name, ref in references.items() if ref.needs == "replies"}


def _path(folder: Path, index: int) -> Path:
    return folder / f"part-{index:05d}.parquet"


def _canned_path(folder: Path, name: str, replies: Sequence[str], index: int) -> Path:
    return folder / f"canned-{canned_key([name, *replies])}-{index:05d}.parquet"
