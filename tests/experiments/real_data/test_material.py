"""Splits of made-up data: what reward models train on and what is measured share no prompt."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.real_data.material import CANDIDATES, GIVEN_PAIRS, MATERIAL, PAIRS, make_material
from pipelines.answers.reading import read_answers

NUM_PROMPTS = 60


def question(kind: str, index: int) -> str:
    return f"\n\nHuman: {kind} {index} and {index * 17 + 3}, {chr(97 + index % 26) * 4}?\n\nAssistant:"


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The material made of three files like the real ones."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("material")
    answers = [{"model": f"m{i}", "text": f"answer {i}", "judge_logit": float(i)} for i in range(3)]
    written(
        data / CANDIDATES,
        [
            {"prompt": question("What is", index), "source": "test", "responses": answers}
            for index in range(NUM_PROMPTS)
        ],
    )
    asked = {
        "helpful": [question("What is", index) for index in range(NUM_PROMPTS)] * 2,
        "harmless": [question("How dangerous is", index) for index in range(NUM_PROMPTS)] + [question("What is", 7)],
    }
    for name, prompts in asked.items():
        written(
            data / GIVEN_PAIRS[name], [{"chosen": f"{p} yes", "rejected": f"{p} no", "margin": 1.0} for p in prompts]
        )
    make_material(data, folder, seed=0)
    return folder


def splits_of(path: Path) -> dict[str, set[str]]:
    """The splits that each prompt has rows in."""
    found: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["chosen"].removesuffix(" yes"), set()).add(row["split"])
    return found


def test_pairs_and_answers_of_a_prompt_are_on_the_same_side(folder: Path) -> None:
    pairs = splits_of(folder / PAIRS["helpful"])
    assert all(len(splits) == 1 for splits in pairs.values())
    answers = {answered.prompt: answered.split for answered in read_answers(folder / MATERIAL)}
    assert len(answers) == NUM_PROMPTS
    assert all(pairs[prompt] == {split} for prompt, split in answers.items())


def test_half_of_the_prompts_with_answers_are_held_out(folder: Path) -> None:
    counted = [answered.split for answered in read_answers(folder / MATERIAL)]
    assert counted.count("test") == pytest.approx(NUM_PROMPTS / 2, abs=2)
    assert counted.count("validation") == pytest.approx(0.15 * NUM_PROMPTS / 2, abs=2)


def test_a_harmless_pair_that_asks_what_has_answers_trains_nothing(folder: Path) -> None:
    pairs = splits_of(folder / PAIRS["harmless"])
    assert pairs[question("What is", 7)] == {"test"}
    held_out = [prompt for prompt, splits in pairs.items() if splits == {"test"}]
    assert len(held_out) == pytest.approx(0.15 * NUM_PROMPTS + 1, abs=3)


def test_what_is_given_stays_in_the_rows(folder: Path) -> None:
    answered = read_answers(folder / MATERIAL)[0]
    assert [fields["judge_logit"] for fields in answered.fields] == [0.0, 1.0, 2.0]
    assert [fields["model"] for fields in answered.fields] == ["m0", "m1", "m2"]
