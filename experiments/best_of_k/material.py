"""The study's data: prompts with their candidates, gold of both properties, splits, and pairs to train on.

Gold of helpful is the judge's logit. Gold of concise is made from the text, in tension with it: the log of the prompt's
median word count over the answer's, so that an answer half as long as the median has +0.69 nats. Pairs of concise are
drawn from Bradley-Terry on that gold. Prompts are split by groups of near-duplicates; whatever pair asks the same as a
held-out prompt is held out with it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allgood.conversations import first_human_turn, normalise
from pipelines.config.data import DataSource
from pipelines.data.formats import read_pair, read_prompt
from pipelines.data.near_duplicates import group_near_duplicates
from pipelines.data.prepared import Split
from pipelines.data.sources import Row, read_rows
from pipelines.output.files import atomic_path

PAIRS, CANDIDATES = "helpful_pairs.jsonl.gz", "helpful_candidates.jsonl.gz"  # in the folder that the user gives
HELPFUL_PAIRS, CONCISE_PAIRS, MATERIAL = "helpful_pairs.jsonl", "concise_pairs.jsonl", "candidates.jsonl"

HELD_OUT = 1 / 3  # share of the prompts, for the report only
VALIDATION = 0.2  # share of the others: temperature, best moment of the training, weights of the weighted sum
CONCISE_PAIRS_PER_PROMPT = 4
PREFERENCE_SCALE = 2.0  # nats of Bradley-Terry per nat of gold: half the length is preferred in 80 % of the pairs


@dataclass(frozen=True)
class CandidatePrompt:
    """A prompt with its answers and their gold per property, [answers]."""

    prompt: str
    split: Split
    responses: tuple[str, ...]
    gold: dict[str, NDArray[np.float64]]


def make_material(data: Path, folder: Path, *, seed: int) -> list[CandidatePrompt]:
    """Read the user's two files, split, and write both properties' pairs and the candidates into `folder`."""
    candidates = read_rows(DataSource(path=str(data / CANDIDATES)))
    pairs = read_rows(DataSource(path=str(data / PAIRS)))
    questions = [normalise(first_human_turn(read_prompt(row))) for row in candidates]
    pair_questions = [normalise(first_human_turn(read_pair(row, "hh").prompt)) for row in pairs]
    splits = split_questions([*questions, *pair_questions], seed=seed)
    prompts = [_prompt(row, splits[question]) for row, question in zip(candidates, questions, strict=True)]
    _write(
        folder / HELPFUL_PAIRS,
        (row.values | {"split": splits[question]} for row, question in zip(pairs, pair_questions, strict=True)),
    )
    _write(folder / CONCISE_PAIRS, concise_pairs(prompts, seed=seed))
    _write(folder / MATERIAL, (_row(prompt) for prompt in prompts))
    return prompts


def split_questions(
    questions: Sequence[str], *, seed: int, held_out: float = HELD_OUT, validation: float = VALIDATION
) -> dict[str, Split]:
    """Near-duplicates together: `held_out` of them test, a share `validation` of the others, the rest reward."""
    distinct = sorted(set(questions))
    groups: dict[int, list[str]] = {}
    for question, group in zip(distinct, group_near_duplicates(distinct), strict=True):
        groups.setdefault(group, []).append(question)
    order = list(groups.values())
    random.Random(f"best-of-k-{seed}").shuffle(order)
    splits: dict[str, Split] = {}
    for members in order:
        share = len(splits) / len(distinct)
        first_training = held_out + validation * (1 - held_out)
        split: Split = "test" if share < held_out else "validation" if share < first_training else "reward"
        splits |= dict.fromkeys(members, split)
    return splits


def concise_gold(responses: Sequence[str]) -> NDArray[np.float64]:
    """log(median word count of the prompt's answers / word count), [answers], nats: above 0 is shorter than usual."""
    words = np.array([max(1, len(response.split())) for response in responses], dtype=np.float64)
    gold: NDArray[np.float64] = np.log(np.median(words) / words)
    return gold


def concise_pairs(prompts: Sequence[CandidatePrompt], *, seed: int) -> list[dict[str, Any]]:
    """Preference pairs drawn from Bradley-Terry on the gold of concise; answers of equal length never meet."""
    generator = np.random.default_rng([seed, 11])
    rows = []
    for prompt in prompts:
        gold = prompt.gold["concise"]
        for _ in range(CONCISE_PAIRS_PER_PROMPT):
            first, second = (int(index) for index in generator.choice(len(gold), size=2, replace=False))
            log_odds = PREFERENCE_SCALE * (gold[first] - gold[second])
            first_wins = generator.random() < 1 / (1 + np.exp(-log_odds))
            if log_odds == 0 or prompt.responses[first] == prompt.responses[second]:
                continue
            chosen, rejected = (first, second) if first_wins else (second, first)
            rows.append(
                {
                    "prompt": prompt.prompt,
                    "chosen": prompt.responses[chosen],
                    "rejected": prompt.responses[rejected],
                    "split": prompt.split,
                }
            )
    return rows


def _prompt(row: Row, split: Split) -> CandidatePrompt:
    responses = tuple(answer["text"] for answer in row.values["responses"])
    judge = np.array([answer["judge_logit"] for answer in row.values["responses"]], dtype=np.float64)
    return CandidatePrompt(read_prompt(row), split, responses, {"helpful": judge, "concise": concise_gold(responses)})


def _row(prompt: CandidatePrompt) -> dict[str, Any]:
    """A row of a candidates file as `allgood best-of-k` reads it."""
    gold = {name: values.tolist() for name, values in prompt.gold.items()}
    return {
        "prompt": prompt.prompt,
        "split": prompt.split,
        "responses": [
            {"text": response, **{f"gold.{name}": values[index] for name, values in gold.items()}}
            for index, response in enumerate(prompt.responses)
        ],
    }


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
