"""Win rates of a policy against the start policy: by gold where it exists, else by the held-out preference models.

Never by the reward models that train it: a trial that games them would look best, so a sweep that chose or pruned on
its own reward would choose the worst hacker. Validation prompts meet the cached pi_0 samples of the reference table;
test prompts meet pi_0 samples that the sweep draws once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from actors.messages import Experience
from allgood.errors import DataError
from allgood.winrate import win_rate_by_prompt
from pipelines.alignment.validation import Judge
from pipelines.cast.actors import Actors
from pipelines.cast.experience import texts
from pipelines.cast.lane import Lane
from pipelines.cast.request import EVALUATOR, evaluators_of, limits_of
from pipelines.config.run import RunConfig
from pipelines.evaluation.estimates import PerPrompt
from pipelines.evaluation.measure import FloatGrid
from pipelines.objective.gold import gold_of
from pipelines.references.table import SAMPLES
from pipelines.run.folder import RunFolder
from pipelines.sweep.score import Source
from pipelines.sweep.unjudged import UNJUDGED


@dataclass(frozen=True)
class Opponents:
    """Scores of the start policy's samples on validation prompts: property -> prompt id -> scores."""

    source: Source
    scores: Mapping[str, Mapping[str, Sequence[float]]]


def judge_source(config: RunConfig) -> Source:
    """Who says which response is better; never the reward models themselves."""
    if gold_of(config) is not None:
        return "gold"
    return "evaluator" if evaluators_of(config) else "nobody"


def judged_properties(config: RunConfig, source: Source) -> list[str]:
    """The properties that are judged; cached samples may hold the scores of others too."""
    gold = gold_of(config)
    return list(gold.bars) if source == "gold" and gold is not None else list(evaluators_of(config))


def unjudged_notice(config: RunConfig, source: Source) -> str | None:
    """Of which properties a win rate says nothing, if there are any; where nobody judges, what follows from that."""
    if source == "nobody":
        return UNJUDGED
    judged = judged_properties(config, source)
    others = [name for name in config.properties if name not in judged]
    return f"nobody judges {', '.join(others)}: win rates are those of {', '.join(judged)}" if others else None


def load_opponents(config: RunConfig, source: Source) -> Opponents:
    """The cached pi_0 samples of the validation prompts.

    Raises:
        DataError: There are none.
    """
    path = RunFolder(config.base_folder).references / SAMPLES
    prefix = "gold." if source == "gold" else EVALUATOR
    table = pq.read_table(path, filters=[("split", "=", "validation")])
    names = judged_properties(config, source)
    lacking = [prefix + name for name in names if prefix + name not in table.column_names]
    if not len(table) or lacking:
        raise DataError(
            f"{path} holds no validation prompts with {', '.join(lacking) or 'scores'}; add validation to "
            "references.splits and make it again with `allgood reference CONFIG`"
        )
    prompts = table["prompt_id"].to_pylist()
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for name in names:
        for prompt, value in zip(prompts, table[prefix + name].to_pylist(), strict=True):
            scores[name].setdefault(prompt, []).append(np.nan if value is None else value)
    return Opponents(source, scores)


def refuse_unmet(opponents: Opponents, prompt_ids: Sequence[str]) -> None:
    """DataError: validation prompts of a trial have no cached samples to compare with."""
    unknown = [prompt for prompt in prompt_ids if any(prompt not in known for known in opponents.scores.values())]
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(prompt_ids)} validation prompts have no cached samples; raise "
            "references.max_prompts.validation to at least align.max_evaluation_prompts"
        )


def validation_judge(config: RunConfig, opponents: Opponents, cast: Actors) -> Judge | None:
    """Win rates of an evaluation: `win_rate`, the mean over properties, and `win_rate.<property>`. None: no judge."""
    if opponents.source == "nobody":
        return None

    async def judge(experience: Sequence[Experience]) -> Mapping[str, float]:
        prompts, responses = texts(experience)
        scores = await scored(config, opponents.source, cast, prompts, responses)
        ids = [prompt for chunk in experience for prompt in chunk.rollout.chunk.prompt_ids]
        refuse_unmet(opponents, ids)
        rates = {
            name: win_rate_by_prompt(
                np.reshape(scores[name], (len(ids), -1)), np.array([known[prompt] for prompt in ids], dtype=np.float64)
            ).numpy()
            for name, known in opponents.scores.items()
        }
        return mean_win_rates(rates)

    return judge


async def scored(
    config: RunConfig, source: Source, cast: Actors, prompts: Sequence[str], responses: Sequence[str]
) -> dict[str, FloatGrid]:
    """Scores of any responses by whoever judges, else by the training reward models, per property, [rows]."""
    if source == "gold":
        gold = gold_of(config)
        assert gold is not None
        return {name: np.asarray(values, dtype=np.float64) for name, values in gold.score(prompts, responses).items()}
    names = [name for name in cast.scorers if name.startswith(EVALUATOR) == (source == "evaluator")]
    lane = Lane(cast, key="judge", scorers=names, limits=limits_of(config))
    return {
        name.removeprefix(EVALUATOR): (await lane.score_texts(name, prompts, responses)).astype(np.float64)
        for name in names
    }


def mean_win_rates(by_prompt: Mapping[str, PerPrompt]) -> dict[str, float]:
    """Means over prompts that have a score; NaN where none has, which ends the trial rather than passing for a rate."""
    means = {f"win_rate.{name}": _mean(rates) for name, rates in by_prompt.items()}
    return {"win_rate": float(np.mean(list(means.values()))), **means}


def _mean(rates: PerPrompt) -> float:
    return float(np.nanmean(rates)) if np.isfinite(rates).any() else float("nan")
