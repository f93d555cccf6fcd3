"""What a run makes of raw rewards of any responses: references, margins, utilities, P(good), the combined utility.

References come from the run's table, or from the answers themselves: then the prompt's own responses stand for samples
of the policy that they are measured against, which is what a file of candidates by other models is. The same code as
in training turns rewards into utilities.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors.messages import FinishReason, FloatRow, Scores
from allgood.errors import ReferenceTableError
from pipelines.answers.reading import Answered
from pipelines.answers.rewards import RawRewards
from pipelines.config.run import RunConfig
from pipelines.evaluation.scorers import treated
from pipelines.files import atomic_path
from pipelines.objective import combined_utility
from pipelines.reference_table import (
    MANIFEST,
    SAMPLES,
    TABLE,
    ReferenceTable,
    canned_column,
    needs_table,
    sha256_of,
)
from pipelines.references import table_rows
from pipelines.run_folder import RunFolder
from pipelines.table_keys import table_keys, temperature

ReferencesFrom = Literal["table", "answers"]


@dataclass(frozen=True)
class Judged:
    """Answers with what each property says of every row, prompt by prompt, and the combined utility, [rows].

    NaN where a needed score is missing. Rows of prompts that have no reference (fewer than two scored answers of
    their own) are missing too.
    """

    answers: Sequence[Answered]
    scores: Mapping[str, Scores]
    utilities: FloatRow

    @property
    def num_missing(self) -> int:
        """Rows without a combined utility."""
        return int(np.isnan(self.utilities).sum())


def judged(
    config: RunConfig, answers: Sequence[Answered], raw: RawRewards, references: Mapping[str, FloatRow]
) -> Judged:
    """Apply the run's transforms and objective; `references` are per property, [prompts], in units of the reward."""
    counts = [len(answered.responses) for answered in answers]
    scores = {}
    for name, setting in config.properties.items():
        beside = references[name].repeat(counts)
        grid = raw.rewards[name].astype(np.float64)[:, None]  # a row is a prompt of one sample: numbers may differ
        scores[name] = treated(name, setting, grid, beside, temperature=temperature(config, name))
    utility = combined_utility(
        config.objective, config.properties, missing_eos_penalty=config.align.missing_eos_penalty
    )
    return Judged(answers, scores, utility(scores, _finish_reasons(answers)))


def checked_table(config: RunConfig, answers: Sequence[Answered]) -> ReferenceTable | None:
    """The run's reference table, if a property needs one; refused where it is another run's, or lacks a prompt.

    Raises:
        ReferenceTableError: Says which key differs, or which prompts have no row and what to do.
    """
    names = [name for name, setting in config.properties.items() if needs_table(setting.reference)]
    if not names:
        return None
    table = ReferenceTable.load(RunFolder(config.base_folder).references)
    table.check(table_keys(config, names))
    for name in names:
        missing = [answered for answered in answers if answered.id not in table.rows.get(name, {})]
        if missing:
            raise ReferenceTableError(
                f"{len(missing)} of {len(answers)} prompts have no {name} reference in {table.folder}, the first is "
                f"{_shown(missing[0].prompt)}; `allgood reference CONFIG --splits ...` makes them for prompts of this "
                "run; for others give --references answers (each prompt's own responses, at least 2), or a reference "
                f"that needs no table (properties.{name}.reference.kind=constant)"
            )
    return table


def table_references(
    config: RunConfig, answers: Sequence[Answered], table: ReferenceTable | None
) -> dict[str, FloatRow]:
    """r_ref of every prompt per property, from the table or from the config alone, [prompts]."""
    ids = [answered.id for answered in answers]
    values = {}
    for name, setting in config.properties.items():
        source = table or ReferenceTable(Path(), {}, {})  # none and constant never look into it
        by_prompt = source.reference_values(name, setting.reference, ids)
        values[name] = np.array([by_prompt[prompt] for prompt in ids], dtype=np.float32)
    return values


def own_references(
    config: RunConfig, answers: Sequence[Answered], raw: RawRewards, folder: Path
) -> dict[str, FloatRow]:
    """r_ref from the prompts' own responses, [prompts]; NaN with fewer than two scores. `folder` keeps the table."""
    table = _own_table(config, answers, raw, folder)
    values = {}
    for name, setting in config.properties.items():
        rows = table.rows[name]
        usable = [a.id for a in answers if not needs_table(setting.reference) or rows[a.id]["n"] >= 2]
        by_prompt = table.reference_values(name, setting.reference, usable)
        values[name] = np.array([by_prompt.get(a.id, np.nan) for a in answers], dtype=np.float32)
    return values


def _own_table(config: RunConfig, answers: Sequence[Answered], raw: RawRewards, folder: Path) -> ReferenceTable:
    """The artifact that `allgood reference` leaves, with the answers in the place of samples."""
    ids = [answered.id for answered in answers for _ in answered.responses]
    columns = {f"reward.{name}": values.astype(np.float64) for name, values in raw.rewards.items()}
    samples = pa.table({"prompt_id": ids, **columns})
    canned = {}
    for name, means in raw.canned.items():
        reference = config.properties[name].reference
        column = canned_column(reference.replies)  # type: ignore[union-attr]  # raw.canned holds canned ones only
        canned[name] = {column: {a.id: float(mean) for a, mean in zip(answers, means, strict=True)}}
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        pq.write_table(
            pa.Table.from_pylist(table_rows(samples.to_pylist(), canned, list(config.properties))), temporary / TABLE
        )
        pq.write_table(samples, temporary / SAMPLES)
        files = {name: sha256_of(temporary / name) for name in (TABLE, SAMPLES)}
        manifest = {"schema": 1, "keys": {"policy": "the answers themselves"}, "files": files}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return ReferenceTable.load(folder)


def p_good(config: RunConfig, name: str, scores: Scores) -> FloatRow:
    """P(good) of every row of a property: sigma(z), or what a probability scorer says."""
    if config.properties[name].transform.kind == "log_prob":
        return np.exp(scores.utilities)
    return (0.5 * (1 + np.tanh(0.5 * scores.margins))).astype(np.float32)


def judged_rows(config: RunConfig, found: Judged) -> list[dict[str, Any]]:
    """One flat row per response: who was asked, what came, what the file says of it, what the run makes of it."""
    columns: dict[str, FloatRow] = {}
    for name, scores in found.scores.items():
        columns |= {
            f"reward.{name}": scores.rewards,
            f"reference.{name}": scores.references,
            f"margin.{name}": scores.margins,
            f"utility.{name}": scores.utilities,
            f"p_good.{name}": p_good(config, name, scores),
        }
    columns["utility"] = found.utilities
    asked = [(answered, sample) for answered in found.answers for sample in range(len(answered.responses))]
    return [
        {
            **answered.fields[sample],
            "prompt_id": answered.id,
            **({"split": answered.split} if answered.split is not None else {}),
            "sample": sample,
            "prompt": answered.prompt,
            "response": answered.responses[sample],
            **{column: float(values[row]) for column, values in columns.items()},
        }
        for row, (answered, sample) in enumerate(asked)
    ]


def _finish_reasons(answers: Sequence[Answered]) -> tuple[FinishReason, ...]:
    """As the file says; a text of unknown origin counts as ended by itself."""
    said = [fields.get("finish_reason") for answered in answers for fields in answered.fields]
    return tuple(cast(FinishReason, reason) if reason in get_args(FinishReason) else "eos" for reason in said)


def _shown(prompt: str) -> str:
    text = " ".join(prompt.split())
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
