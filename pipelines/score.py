"""`allgood score`: score any prompts with any responses, with the models and the objective of a run.

Rewards come from the run's reward actors, in parts that survive a kill (`<output>.parts/`, removed at the end). The
output has one row per response: everything that the input says, and per property reward, reference, margin, utility
and P(good), and the combined utility. A failed score is NaN, counted, and replaced by nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allgood.errors import ConfigError, DataError
from pipelines.answers.judged import (
    Judged,
    ReferencesFrom,
    checked_table,
    judged,
    judged_rows,
    own_table,
    p_good,
    refuse_what_answers_lack,
    utility_of_responses,
)
from pipelines.answers.reading import Answered, read_answers
from pipelines.answers.rewards import raw_rewards
from pipelines.answers.writing import check_ending, write_rows
from pipelines.cast_request import Actors
from pipelines.config.run import RunConfig

Report = dict[str, Any]


def score_file(
    config: RunConfig, source: Path, output: Path, *, references: ReferencesFrom, cast: Actors | None = None
) -> Report:
    """Score the file `source` into `output`; started again after a kill, it goes on where it was.

    Raises:
        ConfigError: The output has an unknown ending, or is the input.
        DataError: A row is wrong, or the parts beside `output` belong to another file or other models.
        ReferenceTableError: A prompt has no reference.
    """
    check_ending(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"{output} is the input; give another output")
    answers = read_answers(source)
    parts = output.with_name(f"{output.name}.parts")
    found = scored_answers(config, answers, parts, references=references, cast=cast)
    write_rows(output, judged_rows(config, found))
    shutil.rmtree(parts)
    return score_report(config, found)


def scored_answers(
    config: RunConfig,
    answers: Sequence[Answered],
    folder: Path,
    *,
    references: ReferencesFrom,
    cast: Actors | None = None,
) -> Judged:
    """The run's scores of any answers; `folder` keeps finished parts. Refusals come before any model is loaded."""
    utility_of_responses(config)  # an objective that cannot be is refused here
    if references == "table":
        table = checked_table(config, answers)
        raw = raw_rewards(config, answers, folder, cast, canned=False)
        return judged(config, answers, raw, table)
    refuse_what_answers_lack(config)
    _refuse_single_answers(answers)
    raw = raw_rewards(config, answers, folder, cast, canned=True)
    return judged(config, answers, raw, own_table(config, answers, raw, folder / "references"))


def score_report(config: RunConfig, found: Judged) -> Report:
    """Counts and means, for the terminal."""
    report: Report = {"prompts": len(found.answers), "responses": len(found.utilities)}
    for name, scores in found.properties.items():
        report[name] = {
            "failed": int(np.isnan(scores.rewards).sum()),
            "mean reward": _mean(scores.rewards),
            "mean reference": _mean(scores.references),
            "mean P(good)": _mean(p_good(config, name, scores)),
        }
    return report | {"without utility": found.num_missing, "mean utility": _mean(found.utilities)}


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)].astype(np.float64)
    return float(known.mean()) if len(known) else None


def _refuse_single_answers(answers: Sequence[Answered]) -> None:
    single = [answered for answered in answers if len(answered.responses) < 2]
    if single:
        raise DataError(
            f"{len(single)} of {len(answers)} prompts have a single response, which cannot be its own reference; "
            "give at least 2 responses to each prompt, or --references table"
        )
