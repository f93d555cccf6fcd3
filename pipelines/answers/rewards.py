"""Raw rewards of any responses by a run's reward actors, in parts that survive a kill.

A part is a few whole prompts. It is written when it is scored, atomically; started again, only missing parts are
scored. What the numbers depend on (texts, models, templates, limits) is kept beside the parts, and parts of other
texts or models are refused. Rewards are raw, so parts do not depend on references, transform or objective.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.cast import CastRequest
from actors.messages import FloatRow
from allgood.errors import DataError
from pipelines.align_loop import gather
from pipelines.answers.reading import Answered, flat
from pipelines.cast_request import Actors, cast_for, reward_parts
from pipelines.config.references import CannedReference
from pipelines.config.run import RunConfig
from pipelines.files import atomic_path, write_json
from pipelines.lane import PROBE, Lane
from pipelines.progress import Bar, say, track
from pipelines.table_keys import scorer_keys

ROWS_PER_PART = 256
KEYS = "keys.json"

Part = Sequence[Answered]


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
    _check_keys(folder, _keys(config, parts, replies))
    missing = [index for index in range(len(parts)) if not _path(folder, index).is_file()]
    if missing:
        if len(missing) < len(parts):
            say(f"{len(parts) - len(missing)} of {len(parts)} parts are scored already: {folder}")
        request = CastRequest(rewards=reward_parts(config), timeout_s=config.placement.timeout_s)
        with cast_for(request, cast) as kept:
            asyncio.run(_score_parts(config, kept, parts, missing, replies, folder))
    tables = [pq.read_table(_path(folder, index)) for index in range(len(parts))]
    starts = np.cumsum([0, *(len(answered.responses) for answered in answers)])[:-1]
    columns = {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in tables[0].column_names}
    return RawRewards(
        rewards={name: columns[f"reward.{name}"] for name in config.properties},
        canned={name: columns[f"canned.{name}"][starts] for name in replies},
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


async def _score_parts(
    config: RunConfig,
    cast: Actors,
    parts: Sequence[Part],
    missing: Sequence[int],
    replies: Mapping[str, Sequence[str]],
    folder: Path,
) -> None:
    lane = Lane(cast, key="answers", scorers=list(config.properties), deadline_s=config.align.deadline_s)
    await lane.check_scores([parts[0][0].prompt] * len(PROBE), PROBE)
    # Parts go round in order, few more than there are replicas: a kill then costs a few parts, not a little of each.
    in_flight = asyncio.Semaphore(1 + max(len(cast.rewards[name]) for name in config.properties))

    async def one(index: int, bar: Bar) -> None:
        async with in_flight:
            columns = await _score_part(lane, parts[index], config, replies)
        with atomic_path(_path(folder, index)) as temporary:
            pq.write_table(pa.table(columns), temporary)
        bar.advance(_num_rows(parts[index]))

    with track("scoring responses", sum(map(_num_rows, parts))) as bar:
        bar.advance(sum(_num_rows(part) for index, part in enumerate(parts) if index not in set(missing)))
        await gather(one(index, bar) for index in missing)


async def _score_part(
    lane: Lane, part: Part, config: RunConfig, replies: Mapping[str, Sequence[str]]
) -> dict[str, FloatRow]:
    prompts, responses = flat(part)
    rewards = await gather(lane.score_texts(name, prompts, responses) for name in config.properties)
    columns = {f"reward.{name}": row for name, row in zip(config.properties, rewards, strict=True)}
    counts = [len(answered.responses) for answered in part]
    for name, texts in replies.items():
        asked = [answered.prompt for answered in part for _ in texts]
        scored = await lane.score_texts(name, asked, [text for _ in part for text in texts])
        means = scored.reshape(len(part), len(texts)).mean(axis=1, dtype=np.float64)  # NaN when one reply failed
        columns[f"canned.{name}"] = means.astype(np.float32).repeat(counts)
    return columns


def _keys(config: RunConfig, parts: Sequence[Part], replies: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    texts = hashlib.sha256()
    for part in parts:
        for answered in part:
            texts.update(json.dumps([answered.prompt, *answered.responses], ensure_ascii=False).encode())
        texts.update(b"\n")
    keys: dict[str, Any] = {"texts": texts.hexdigest()}
    for name in config.properties:
        keys |= scorer_keys(config, name)
    return keys | {f"canned.{name}": list(texts_of) for name, texts_of in replies.items()}


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
    return {name: list(ref.replies) for name, ref in references.items() if isinstance(ref, CannedReference)}


def _path(folder: Path, index: int) -> Path:
    return folder / f"part-{index:05d}.parquet"


def _num_rows(part: Part) -> int:
    return sum(len(answered.responses) for answered in part)
