"""What a run makes of raw rewards of any responses: references, margins, utilities, P(good), the combined utility.

References come from the run's table, or from the answers themselves: then the prompt's own responses stand for samples
of the policy that they are measured against, which is what a file of candidates by other models is. The same code as
in training turns rewards into utilities.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actors.messages import FloatRow
from allgood.all_good import AllGood, Judged
from allgood.errors import ConfigError, DataError, ReferenceTableError
from allgood.objectives import Objective
from allgood.treatment import Treatment
from allgood.views import PropertyView
from pipelines.answers.missing import missing_lines, missing_scores
from pipelines.answers.reading import Answered
from pipelines.answers.rewards import RawRewards
from pipelines.cast.sample_rows import sample_rows
from pipelines.config.objective_values import objective_of
from pipelines.config.objectives import NormaliseThenSumObjective
from pipelines.config.properties import Property
from pipelines.config.references import canned_column
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path
from pipelines.output.hashes import sha256_of
from pipelines.references.build import table_rows
from pipelines.references.table import MANIFEST, SAMPLES, TABLE, ReferenceTable
from pipelines.references.treatments import run_table, treatment_of

ReferencesFrom = Literal["table", "answers"]


@dataclass(frozen=True)
class JudgedAnswers:
    """Answers with what each property says of every row, prompt by prompt, and the combined utility, [rows].

    NaN where a needed score is missing. Rows of prompts that have no reference (fewer than two scored answers of
    their own) are missing too.
    """

    answers: Sequence[Answered]
    judged: Judged

    @property
    def properties(self) -> Mapping[str, PropertyView]:
        """The view of each property, [rows]."""
        return self.judged.properties

    @property
    def utilities(self) -> FloatRow:
        """The combined utility, [rows]."""
        return self.judged.utilities

    @property
    def num_missing(self) -> int:
        """Rows without a combined utility."""
        return int(self.judged.failed.sum())


def judged(
    config: RunConfig, answers: Sequence[Answered], raw: RawRewards, table: ReferenceTable | None
) -> JudgedAnswers:
    """Apply the run's transforms, references and objective to raw rewards, as the run itself would.

    A row counts as a prompt of one sample, since prompts differ in their number.

    Raises:
        ConfigError, ReferenceTableError, RoleError: As the run would raise them.
    """
    all_good = AllGood(
        {name: _treatment(config, answers, table, name=name) for name in config.properties},
        objective_of_responses(config),
        config.missing_eos_penalty,
    )
    ids = [answered.id for answered in answers for _ in answered.responses]
    return JudgedAnswers(answers, all_good.of_rewards(raw.rewards, ids, was_cut=_was_cut(answers)))


def objective_of_responses(config: RunConfig) -> Objective:
    """The run's objective, as far as it says of a single response what it is worth.

    A Lagrangian has its initial multipliers here: those that a run learns are known after it only.

    Raises:
        ConfigError: The objective does not fit the properties, or has no utility of a response (normalise_then_sum).
    """
    if isinstance(config.objective, NormaliseThenSumObjective):
        raise ConfigError(
            "objective.kind normalise_then_sum is a rule for advantages and gives no utility to a response; "
            "choose another objective to score and select with"
        )
    return objective_of(config.objective, config.properties)


def _treatment(config: RunConfig, answers: Sequence[Answered], table: ReferenceTable | None, *, name: str) -> Treatment:
    """A property's treatment, in which prompts that can have no reference have NaN."""
    known = _with_reference(config.properties[name], answers, table, name=name)
    treatment = treatment_of(config, name, table, sorted(known), key="answers")
    unknown = [answered.id for answered in answers if answered.id not in known]
    if not unknown or not isinstance(treatment.references, Mapping):
        return treatment
    return replace(treatment, references={**treatment.references, **dict.fromkeys(unknown, float("nan"))})


def _with_reference(
    setting: Property, answers: Sequence[Answered], table: ReferenceTable | None, *, name: str
) -> set[str]:
    """Prompts that can have a reference: all, but for those that a table of the answers themselves leaves out."""
    ids = {answered.id for answered in answers}
    if table is None or setting.reference.needs in ("nothing", "head"):
        return ids
    return ids & table.rows.get(name, {}).keys()


def checked_table(config: RunConfig, answers: Sequence[Answered]) -> ReferenceTable | None:
    """The run's reference table, if a property needs one; refused where it is another run's, or lacks a prompt.

    Raises:
        ReferenceTableError: Says which key differs, or which prompts have no row and what to do.
    """
    table = run_table(config)
    if table is None:
        return None
    ids = [answered.id for answered in answers]
    for name, setting in config.properties.items():
        try:
            treatment_of(config, name, table, ids, key="answers")
        except ReferenceTableError as error:
            missing = [answered for answered in answers if answered.id not in table.rows.get(name, {})]
            if not missing or setting.reference.fixed is not None:
                raise
            raise ReferenceTableError(
                f"{len(missing)} of {len(answers)} prompts have no {name} reference in {table.folder}, the first is "
                f"{_shown(missing[0].prompt)}; `allgood reference CONFIG --splits ...` makes them for prompts of this "
                "run; for others give --references answers (each prompt's own responses, at least 2), or a reference "
                f"that needs no table (properties.{name}.reference.kind=constant)"
            ) from error
    return table


def refuse_what_answers_lack(config: RunConfig) -> None:
    """ConfigError for a reference that needs more than the prompts' own responses."""
    for name, setting in config.properties.items():
        if setting.reference.needs in ("data", "head"):
            raise ConfigError(
                f"properties.{name}.reference is of kind {setting.reference.kind}, which answers alone cannot give; "
                "use --references table, or another kind"
            )


def own_table(config: RunConfig, answers: Sequence[Answered], raw: RawRewards, folder: Path) -> ReferenceTable:
    """A reference table like that of `allgood reference`, with each prompt's own responses in the place of samples.

    A prompt with fewer than two scores has no row, nor has one with which no canned reply could be scored.
    """
    ids = [answered.id for answered in answers for _ in answered.responses]
    columns = {f"reward.{name}": values.astype(np.float64) for name, values in raw.rewards.items()}
    samples = pa.table({"prompt_id": ids, **columns})
    canned: dict[str, dict[str, dict[str, float]]] = {}
    for name, means in raw.canned.items():
        reference = config.properties[name].reference
        column = canned_column(reference.fixed_replies)
        canned[name] = {column: {a.id: float(mean) for a, mean in zip(answers, means, strict=True)}}
    rows = [
        row
        for row in table_rows(samples.to_pylist(), canned, list(config.properties))
        if row["n"] >= 2 and all(np.isfinite(row[column]) for column in canned.get(row["property"], ()))
    ]
    if not rows:
        causes = missing_lines(config, missing_scores(config, answers, raw.rewards))
        raise DataError(
            "; ".join(["no prompt has two scored answers and, where it needs one, a scored canned reply", *causes])
        )
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), temporary / TABLE)
        pq.write_table(samples, temporary / SAMPLES)
        files = {name: sha256_of(temporary / name) for name in (TABLE, SAMPLES)}
        manifest = {"schema": 1, "keys": {"policy": "the answers themselves"}, "files": files}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return ReferenceTable.load(folder)


def judged_rows(found: JudgedAnswers, rows: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """One flat row per response (of `rows`; absent: all): prompt, response, fields of the file, the run's view."""
    numbers: dict[str, FloatRow] = {}
    for name, view in found.properties.items():
        numbers |= {
            f"reward.{name}": view.rewards,
            f"reference.{name}": view.references,
            f"margin.{name}": view.margins,
            f"utility.{name}": view.utilities,
            f"p_good.{name}": view.p_good.astype(np.float32),
        }
    numbers["utility"] = found.utilities
    asked = [(answered, sample) for answered in found.answers for sample in range(len(answered.responses))]
    chosen = list(range(len(asked)) if rows is None else rows)
    of_file = [asked[row] for row in chosen]
    own = sample_rows(
        {
            "prompt_id": [answered.id for answered, _ in of_file],
            "split": [answered.split for answered, _ in of_file],
            "sample": [sample for _, sample in of_file],
            "prompt": [answered.prompt for answered, _ in of_file],
            "response": [answered.responses[sample] for answered, sample in of_file],
            **{name: values[chosen] for name, values in numbers.items()},
        }
    )
    return [
        {**answered.fields[sample], **{name: value for name, value in row.items() if value is not None}}
        for (answered, sample), row in zip(of_file, own, strict=True)
    ]


def _was_cut(answers: Sequence[Answered]) -> NDArray[np.bool_]:
    """Rows that the file says were cut at the length limit, [rows]; a text of unknown origin ended by itself."""
    return np.array([fields.get("finish_reason") == "length" for answered in answers for fields in answered.fields])


def _shown(prompt: str) -> str:
    text = " ".join(prompt.split())
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
