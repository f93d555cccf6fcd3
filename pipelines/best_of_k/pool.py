"""What best-of-k chooses from: the cached samples of a run, or a file of candidates, with the run's view of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from actors.messages import FloatRow
from allgood.errors import ConfigError, DataError
from pipelines.answers.judged import JudgedAnswers, ReferencesFrom, checked_table, judged
from pipelines.answers.reading import Answered, Fields, read_answers
from pipelines.answers.rewards import RawRewards
from pipelines.answers.score import scored_answers
from pipelines.cast.actors import Actors
from pipelines.config.run import RunConfig
from pipelines.data.prepared import SPLITS, Split
from pipelines.objective.gold import gold_of
from pipelines.references.cached_samples import CachedSamples, load_cached_samples

Floats = NDArray[np.float64]
NOT_MEASURED = frozenset({"sample", "chunk_seed", "reference_logprob"})  # numbers of a file that say nothing of worth
OF_A_RUN = ("reward.", "reference.", "margin.", "utility.", "p_good.")  # columns of scored files; only this run's count
ALL_GOOD = "all good by gold"


@dataclass(frozen=True)
class Pool:
    """JudgedAnswers answers by prompt: `rows[p]` are the rows of prompt p that have a utility."""

    judged: JudgedAnswers
    rows: Sequence[NDArray[np.int64]]

    @staticmethod
    def of(found: JudgedAnswers) -> Pool:
        """Drop what has no utility; it is counted by `JudgedAnswers.num_missing`."""
        ends = np.cumsum([0, *(len(answered.responses) for answered in found.answers)])
        known = np.isfinite(found.utilities)
        return Pool(found, [start + np.flatnonzero(known[start:end]) for start, end in pairwise(ends.tolist())])

    @property
    def counts(self) -> list[int]:
        """Scored answers of each prompt."""
        return [len(rows) for rows in self.rows]

    def response(self, row: int) -> str:
        """The text of a row."""
        return self._responses[row]

    @cached_property
    def _responses(self) -> list[str]:
        return [response for answered in self.judged.answers for response in answered.responses]

    def by_prompt(self, values: NDArray[np.floating]) -> list[Floats]:
        """A column of rows as one array per prompt."""
        return [values[rows].astype(np.float64) for rows in self.rows]


def cached_pool(config: RunConfig, splits: Sequence[str]) -> Pool:
    """The samples that `allgood reference` left.

    Raises:
        ReferenceTableError: There are none of a split, or they belong to other models.
        ConfigError: There is no such split, or one is named twice.
    """
    unknown = [split for split in splits if split not in SPLITS]
    if unknown:
        raise ConfigError(f"there is no split {unknown[0]!r}; splits are {', '.join(get_args(Split))}")
    repeated = [split for split in splits if splits.count(split) > 1]
    if repeated:
        raise ConfigError(f"the split {repeated[0]!r} is named more than once; its prompts would be chosen for twice")
    answers: list[Answered] = []
    rewards: dict[str, list[FloatRow]] = {name: [] for name in config.properties}
    for split in splits:
        cached = load_cached_samples(config, split)
        answers += _answered(cached)
        for name in rewards:
            rewards[name].append(cached.rewards[name].numpy().astype(np.float32).ravel())
    raw = RawRewards({name: np.concatenate(parts) for name, parts in rewards.items()}, {})
    return Pool.of(judged(config, answers, raw, checked_table(config, answers)))


def candidates_of(path: Path) -> list[Answered]:
    """The prompts of a file that leave a choice.

    Raises:
        DataError: The file is wrong (names the line), or no prompt has two answers.
    """
    answers = read_answers(path)
    several = [answered for answered in answers if len(answered.responses) > 1]
    if not several:
        raise DataError(
            f"each of the {len(answers)} prompts of {path} has one response, so there is nothing to choose from; "
            "give several per prompt"
        )
    return several


def candidate_pool(
    config: RunConfig, answers: Sequence[Answered], scores: Path, *, references: ReferencesFrom, cast: Actors | None
) -> Pool:
    """Candidates, scored by the run's reward actors; `scores` keeps what is scored.

    Raises:
        ConfigError: Another process is scoring into `scores`.
        DataError: `scores` holds the scores of something else.
        ReferenceTableError: With references from the table, a prompt has none.
    """
    with scored_answers(config, answers, scores, references=references, cast=cast) as found:
        return Pool.of(found)


def measured(config: RunConfig, pool: Pool) -> dict[str, list[Floats]]:
    """What is reported of the chosen answers: utility, P(good), rewards, words, and every number that the data hold.

    Where the data were scored before, by this run or another, what they say of rewards and utilities is not reported.
    """
    found = pool.judged
    columns: dict[str, NDArray[np.floating]] = {"utility": found.utilities}
    for name, view in found.properties.items():
        columns |= {f"p_good.{name}": view.p_good.astype(np.float32), f"reward.{name}": view.rewards}
    texts = [response for answered in found.answers for response in answered.responses]
    columns["words"] = np.array([len(text.split()) for text in texts], dtype=np.float64)
    fields = [extra for answered in found.answers for extra in answered.fields]
    for name in _numbers(fields):
        if name in columns or name == ALL_GOOD or name.startswith(OF_A_RUN):
            continue
        columns[name] = np.array([extra[name] for extra in fields], dtype=np.float64)
    gold = gold_of(config)
    if gold is not None and all(f"gold.{name}" in columns for name in gold.bars):
        scores = {name: columns[f"gold.{name}"].astype(np.float64) for name in gold.bars}
        columns[ALL_GOOD] = gold.all_good(scores).astype(np.float64)
    return {name: pool.by_prompt(values) for name, values in columns.items()}


def _numbers(fields: Sequence[Fields]) -> list[str]:
    """Fields that are a number in every row."""
    first: Mapping[str, object] = fields[0] if fields else {}
    return [
        name
        for name in first
        if name not in NOT_MEASURED
        and all(isinstance(row.get(name), int | float) and not isinstance(row.get(name), bool) for row in fields)
    ]


def _answered(cached: CachedSamples) -> list[Answered]:
    split: Split = cached.split  # type: ignore[assignment]  # one of SPLITS: the caller has checked
    gold = {f"gold.{name}": grid.tolist() for name, grid in cached.gold.items()}
    return [
        Answered(
            prompt,
            cached.responses[index],
            tuple(
                {"finish_reason": reason, **{name: rows[index][sample] for name, rows in gold.items()}}
                for sample, reason in enumerate(cached.finish_reasons[index])
            ),
            (f"the cached samples of the {split} split",) * len(cached.responses[index]),
            split,
        )
        for index, prompt in enumerate(cached.prompts)
    ]
