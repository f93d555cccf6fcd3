"""The data of the experiment: judged answers by prompt, and pairs of two properties to train reward models on.

Prompts are split by groups of near-duplicates. Half of those with answers is held out: reward models are trained on
pairs of the others, and all that is reported is measured on the held-out ones. Harmless pairs have prompts of their
own; a pair that asks what has answers here is held out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from allgood.conversations import first_human_turn, normalise
from experiments.best_of_k.material import split_questions
from pipelines.config.data import DataSource
from pipelines.data.formats import read_pair, read_prompt
from pipelines.data.prepared import Split
from pipelines.data.sources import Row, read_rows
from pipelines.output.files import atomic_path

CANDIDATES = "helpful_candidates.jsonl.gz"  # in the folder that the user gives, with the pairs
GIVEN_PAIRS = {"helpful": "helpful_pairs.jsonl.gz", "harmless": "harmless_pairs.jsonl.gz"}
PAIRS = {"helpful": "helpful_pairs.jsonl", "harmless": "harmless_pairs.jsonl"}  # written here, each row with its split
MATERIAL = "candidates.jsonl"
JUDGE = "judge_logit"

HELD_OUT = {"helpful": 1 / 2, "harmless": 0.15}  # share of the prompts, for the report only
VALIDATION = 0.15  # share of the others: best moment of the training, temperature


def make_material(data: Path, folder: Path, *, seed: int) -> None:
    """Read the user's three files, split, and write pairs of both properties and the judged answers into `folder`."""
    candidates = read_rows(DataSource(path=str(data / CANDIDATES)))
    questions = [normalise(first_human_turn(read_prompt(row))) for row in candidates]
    pairs = {name: read_rows(DataSource(path=str(data / file))) for name, file in GIVEN_PAIRS.items()}
    asked = {name: [normalise(first_human_turn(read_pair(row, "hh").prompt)) for row in pairs[name]] for name in pairs}
    splits = {
        "helpful": _split([*questions, *asked["helpful"]], "helpful", seed=seed),
        "harmless": _split(asked["harmless"], "harmless", seed=seed)
        | dict.fromkeys({*questions} & {*asked["harmless"]}, "test"),
    }
    for name, rows in pairs.items():
        _write(folder / PAIRS[name], _with_split(rows, [splits[name][question] for question in asked[name]]))
    held_out = [splits["helpful"][question] for question in questions]
    _write(folder / MATERIAL, _with_split(candidates, held_out))


def _split(questions: Sequence[str], name: str, *, seed: int) -> dict[str, Split]:
    return split_questions(questions, seed=seed, held_out=HELD_OUT[name], validation=VALIDATION)


def _with_split(rows: Sequence[Row], splits: Sequence[Split]) -> Iterable[Mapping[str, Any]]:
    return (row.values | {"split": split} for row, split in zip(rows, splits, strict=True))


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
