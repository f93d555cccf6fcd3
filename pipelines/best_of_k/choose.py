"""`allgood best-of-k`: choose among several responses to each prompt by the objective of a run.

Without training: the best of k samples is what a policy at KL log k - (k - 1)/k nats could do with them. Writes
`summary.json` (the frontier over k, and how many prompts stand behind it), `frontier.png`, and the selected responses,
which `data.demonstrations` of a run file reads: SFT on them is best-of-n distillation, with `min_utility` rejection
sampling. For trainers of others it writes preference pairs, and on request samples of the optimum at a chosen KL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from allgood.errors import ConfigError, DataError
from pipelines.answers.judged import ReferencesFrom, objective_of_responses
from pipelines.answers.missing import Missing, missing_lines, missing_of
from pipelines.answers.writing import check_fields, write_rows
from pipelines.best_of_k.frontier import Frontier, default_max_k, frontier
from pipelines.best_of_k.lines import Summary, summary_lines
from pipelines.best_of_k.pairs import best_and_worst
from pipelines.best_of_k.plot import frontier_figure
from pipelines.best_of_k.pool import Pool, cached_pool, candidate_pool, candidates_of, measured
from pipelines.best_of_k.selection import Selection, num_rows_by_split, select
from pipelines.best_of_k.tilted import Tilting, tilted
from pipelines.best_of_k.training_data import TrainingData
from pipelines.cast.actors import Actors
from pipelines.config.objectives import FormulaObjective
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path, check_writable, write_json
from pipelines.output.progress import say
from pipelines.run.folder import RunFolder
from pipelines.run.locks import writing_pages

SUMMARY, FIGURE, SCORES = "summary.json", "frontier.png", "scores"
SELECTED = "selected"


@dataclass(frozen=True)
class CachedSplits:
    """Choose among the samples that `allgood reference` left of these splits."""

    splits: tuple[str, ...]


@dataclass(frozen=True)
class CandidateFile:
    """Choose among the answers of a file; `references` says what they are measured against."""

    path: Path
    references: ReferencesFrom


@dataclass(frozen=True)
class Choosing:
    """Where the curve ends, and what is selected; None means absent (see `choose`)."""

    max_k: int | None = None
    select_from: int | None = None
    min_utility: float | None = None
    format: Literal["jsonl", "parquet"] = "jsonl"
    tilting: Tilting | None = None


def choose(
    config: RunConfig,
    source: CachedSplits | CandidateFile,
    choosing: Choosing,
    folder: Path,
    cast: Actors | None = None,
) -> Summary:
    """Write the frontier and the selection into `folder`, and return the summary.

    Without `max_k` the curve ends at the largest k that half of the prompts reach; without `select_from` a prompt's
    answers are all considered. Scores of candidates are kept in `folder`/scores, so that another objective, reference
    or k costs no scoring.

    Raises:
        AllgoodError: `folder` cannot be written.
        ConfigError: k exceeds the answers of every prompt, the objective does not fit the properties, `folder` holds
            a run or what another command wrote, or another process scores into it.
        DataError: The file is wrong (names the line), no prompt has two scored answers, or without `max_k` half of the
            prompts have none.
        ReferenceTableError: The cached samples or references belong to another model.
    """
    objective_of_responses(config)  # an objective that cannot be is refused first
    _refuse_folder_of_others(folder)
    check_writable(folder)
    if isinstance(source, CachedSplits):
        pool = cached_pool(config, source.splits)
    else:
        answers = candidates_of(source.path)
        _refuse_more_than(max(len(answered.responses) for answered in answers), choosing)  # before they are scored
        check_fields(answers, folder / f"{SELECTED}.{choosing.format}")
        pool = candidate_pool(config, answers, folder / SCORES, references=source.references, cast=cast)
    missing = missing_of(config, pool.judged.answers, pool.judged.properties)
    _tell_missing(config, pool, missing)
    _refuse_more_than(max(pool.counts), choosing)
    max_k = choosing.max_k or default_max_k(pool.counts)
    found = frontier(
        pool.by_prompt(pool.judged.utilities),
        measured(config, pool),
        max_k=max_k,
        seed=config.seed,
        num_bootstrap=config.evaluate.bootstrap,
    )
    first = choosing.select_from
    selection = select(pool, first=first, min_utility=choosing.min_utility)
    data = TrainingData(
        best_and_worst(pool, first=first, min_utility=choosing.min_utility),
        None if choosing.tilting is None else tilted(pool, choosing.tilting, first=first, seed=config.seed),
    )
    summary = _summary(config, source, choosing, pool, missing, found, selection) | data.summary
    files = {SELECTED: selection.rows, **data.files}
    with writing_pages(folder, "best-of-k"):
        _write(folder, summary, frontier_figure(found, title=f"Best of k by {_named(config)}"), files, choosing.format)
    for line in summary_lines(summary):
        say(line)
    return summary


def _refuse_folder_of_others(folder: Path) -> None:
    """Summaries and reports of runs have the names of ours."""
    if RunFolder(folder).config.exists():
        raise ConfigError(
            f"{folder} holds a run, which would be overwritten; give another folder, such as {folder}/best"
        )
    if (folder / SUMMARY).exists() and not _is_ours(folder / SUMMARY):
        raise ConfigError(f"{folder / SUMMARY} is of another command and would be overwritten; give another folder")


def _is_ours(summary: Path) -> bool:
    try:
        content = json.loads(summary.read_bytes())
    except ValueError:
        return False
    return isinstance(content, dict) and {"frontier", "selected"} <= content.keys()


def _tell_missing(config: RunConfig, pool: Pool, missing: Mapping[str, Missing]) -> None:
    """Say why answers have no utility; DataError where too few have one to choose at all."""
    causes = missing_lines(config, missing)
    if max(pool.counts) < 2:
        nothing = "no prompt has two answers with a utility, so there is nothing to choose from"
        raise DataError("; ".join([nothing, *causes]))
    for line in causes:
        say(line)


def _refuse_more_than(most: int, choosing: Choosing) -> None:
    for name, value in (("--max-k", choosing.max_k), ("--select-from", choosing.select_from)):
        if value is not None and value > most:
            raise ConfigError(f"{name} {value} exceeds the answers of every prompt; the most are {most}")


def _summary(
    config: RunConfig,
    source: CachedSplits | CandidateFile,
    choosing: Choosing,
    pool: Pool,
    missing: Mapping[str, Missing],
    found: Frontier,
    selection: Selection,
) -> Summary:
    return {
        "objective": config.objective.model_dump(mode="json"),
        "source": {"splits": list(source.splits)}
        if isinstance(source, CachedSplits)
        else {"candidates": str(source.path), "references": source.references},
        "prompts": len(pool.rows),
        "answers": sum(len(answered.responses) for answered in pool.judged.answers),
        "answers_without_utility": pool.judged.num_missing,
        "missing": {name: asdict(counts) for name, counts in missing.items()},
        "answers_per_prompt": [min(pool.counts), max(pool.counts)],
        "prompts_in_curve": found.num_prompts,
        "frontier": [
            {
                "k": step.k,
                "prompts": found.num_prompts,
                "prompts_with_k_answers": step.prompts_with_k,
                "kl_bound": step.kl_bound,
                "kl_estimate": step.kl_estimate,
                "values": {name: asdict(estimate) for name, estimate in step.values.items()},
            }
            for step in found.steps
        ],
        "selected": {
            "rows": len(selection.rows),
            "by_split": num_rows_by_split(selection.rows),
            "prompts_below_min_utility": selection.num_below,
            "prompts_without_choice": selection.num_single,
            "select_from": choosing.select_from,
            "min_utility": choosing.min_utility,
        },
    }


def _named(config: RunConfig) -> str:
    """The objective in a few words."""
    if isinstance(config.objective, FormulaObjective):
        return config.objective.expression or " & ".join(config.properties)
    return config.objective.kind.replace("_", " ")


def _write(
    folder: Path, summary: Summary, figure: bytes, files: Mapping[str, Sequence[dict[str, Any]]], ending: str
) -> None:
    for name, rows in files.items():
        for old in folder.glob(f"{name}.*"):  # of an earlier call, perhaps with another format
            old.unlink()
        if rows:
            write_rows(folder / f"{name}.{ending}", rows)
    with atomic_path(folder / FIGURE) as temporary:
        temporary.write_bytes(figure)
    write_json(folder / SUMMARY, summary)
