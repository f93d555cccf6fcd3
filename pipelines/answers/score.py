"""`allgood score`: score any prompts with any responses, with the models and the objective of a run.

Rewards come from the run's reward actors, in parts that survive a kill (`<output>.parts/`, removed at the end). The
output has one row per response: everything that the input says, and per property reward, reference, margin, utility
and P(good), and the combined utility. A failed score is NaN, counted, and replaced by nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from allgood.errors import ConfigError, DataError
from pipelines.answers.judged import (
    JudgedAnswers,
    ReferencesFrom,
    checked_table,
    judged,
    judged_rows,
    objective_of_responses,
    own_table,
    refuse_what_answers_lack,
)
from pipelines.answers.missing import Missing, missing_lines, missing_of
from pipelines.answers.reading import Answered, read_answers
from pipelines.answers.rewards import raw_rewards
from pipelines.answers.writing import check_ending, check_fields, write_rows
from pipelines.cast.actors import Actors
from pipelines.config.run import RunConfig
from pipelines.output.files import check_writable, claimed
from pipelines.output.progress import say

Report = dict[str, Any]


def score_file(
    config: RunConfig, source: Path, output: Path, *, references: ReferencesFrom, cast: Actors | None = None
) -> Report:
    """Score the file `source` into `output`; started again after a kill, it goes on where it was.

    Raises:
        AllgoodError: The output cannot be written.
        ConfigError: The output has an unknown ending, is the input, or is being written by another process.
        DataError: A row is wrong or does not fit the output, or the parts alongside `output` belong to another file or
            other models.
        ReferenceTableError: A prompt has no reference.
    """
    check_ending(output)
    check_writable(output.parent)
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"{output} is the input; give another output")
    answers = read_answers(source)
    check_fields(answers, output)
    parts = output.with_name(f"{output.name}.parts")
    with scored_answers(config, answers, parts, references=references, cast=cast) as found:
        write_rows(output, judged_rows(found))
        shutil.rmtree(parts)
    missing = missing_of(config, found.answers, found.properties)
    for line in missing_lines(config, missing):
        say(line)
    return score_report(found, missing)


@contextmanager
def scored_answers(
    config: RunConfig,
    answers: Sequence[Answered],
    folder: Path,
    *,
    references: ReferencesFrom,
    cast: Actors | None = None,
) -> Iterator[JudgedAnswers]:
    """The run's scores of any answers; refusals come before any model is loaded.

    `folder` keeps finished parts, and is this process's alone until the block ends.
    """
    objective_of_responses(config)  # an objective that cannot be is refused here
    if references == "table":
        table = checked_table(config, answers)
        with _alone(folder):
            yield judged(config, answers, raw_rewards(config, answers, folder, cast, canned=False), table)
        return
    refuse_what_answers_lack(config)
    _refuse_single_answers(answers)
    with _alone(folder):
        raw = raw_rewards(config, answers, folder, cast, canned=True)
        yield judged(config, answers, raw, own_table(config, answers, raw, folder / "references"))


def _alone(folder: Path) -> AbstractContextManager[None]:
    return claimed(folder / ".lock", f"another process is scoring into {folder}; wait for it, or give another output")


def score_report(found: JudgedAnswers, missing: Mapping[str, Missing]) -> Report:
    """Counts and means, for the terminal."""
    report: Report = {"prompts": len(found.answers), "responses": len(found.utilities)}
    for name, scores in found.properties.items():
        report[name] = {
            "too long": missing[name].too_long,
            "failed": missing[name].failed,
            "mean reward": _mean(scores.rewards),
            "mean reference": _mean(scores.references),
            "mean P(good)": _mean(scores.p_good.astype(np.float32)),
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
