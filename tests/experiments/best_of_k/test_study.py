"""The study of best-of-k on real answers, on made-up ones: no leakage between splits, gold, tuning, page."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allgood.errors import DataError
from experiments.best_of_k import models
from experiments.best_of_k.analysis import results
from experiments.best_of_k.material import (
    CANDIDATES,
    CONCISE_PAIRS,
    HELPFUL_PAIRS,
    MATERIAL,
    PAIRS,
    concise_gold,
    make_material,
    split_questions,
)
from experiments.best_of_k.models import Scored, study_config
from experiments.best_of_k.write import write_page
from pipelines.answers.judged import own_table
from pipelines.answers.reading import read_answers
from pipelines.answers.rewards import RawRewards
from pipelines.config.run import RunConfig
from pipelines.training.reward_model import reward_folder

NUM_PROMPTS, NUM_ANSWERS = 60, 16


def question(index: int) -> str:
    return f"\n\nHuman: What is number {index} times {index + 7}, in words {chr(97 + index % 26)}?\n\nAssistant:"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files like the real ones; the judge likes long answers."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    rows, pairs = [], []
    for index in range(NUM_PROMPTS):
        words = random.integers(1, 60, size=NUM_ANSWERS)
        texts = [" ".join(["word"] * count) + f" {i}" for i, count in enumerate(words)]
        judge = 0.05 * words + random.normal(size=NUM_ANSWERS)
        answers = [{"model": "m", "text": t, "judge_logit": float(j)} for t, j in zip(texts, judge, strict=True)]
        rows.append({"prompt": question(index), "source": "test", "responses": answers})
        pairs.append({"chosen": f"{question(index)} yes", "rejected": f"{question(index)} no", "margin": 1.0})
    for name, content in ((CANDIDATES, rows), (PAIRS, pairs)):
        (folder / name).write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in content).encode()))
    return folder


@pytest.fixture(scope="module")
def found(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results with rewards that are noisy gold."""
    folder = tmp_path_factory.mktemp("study") / "run"
    make_material(data, folder, seed=0)
    answers = [answered for answered in read_answers(folder / MATERIAL) if answered.split in ("validation", "test")]
    random = np.random.default_rng(1)
    rewards = {
        name: np.array(
            [fields[f"gold.{name}"] + random.normal() for answered in answers for fields in answered.fields],
            dtype=np.float32,
        )
        for name in ("helpful", "concise")
    }
    raw = RawRewards(rewards, {})
    config = study_config(folder, None)
    report = {
        "accuracy": 0.7,
        "accuracy_ci": [0.6, 0.8],
        "longer_wins_accuracy": 0.6,
        "test_pairs": 10,
        "num_steps": 5,
        "best_step": 5,
        "seconds": 1.0,
        "pairs": {split: {"pairs": 100, "dropped_too_long": count} for split, count in (("train", 7), ("test", 2))},
    }
    scored = Scored(config, answers, raw, own_table(config, answers, raw, folder / "own_references"))
    return results(scored, {"helpful": report, "concise": report}, seed=0)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_no_pair_of_the_training_asks_what_a_held_out_prompt_asks(data: Path, tmp_path: Path) -> None:
    prompts = make_material(data, tmp_path, seed=0)
    held_out = {prompt.prompt for prompt in prompts if prompt.split == "test"}
    assert len(held_out) == NUM_PROMPTS // 3
    for name in (HELPFUL_PAIRS, CONCISE_PAIRS):
        for row in rows_of(tmp_path / name):
            text = row.get("prompt") or row["chosen"].removesuffix(" yes")
            assert (row["split"] == "test") == (text in held_out)


def test_near_duplicates_share_a_split() -> None:
    base = [f"tell me all about the history of city number {index} and of its river" for index in range(40)]
    twins = [f"{text} please" for text in base]
    splits = split_questions([*base, *twins], seed=1)
    assert all(splits[text] == splits[twin] for text, twin in zip(base, twins, strict=True))


def test_gold_of_concise_is_the_log_of_the_median_over_the_words() -> None:
    found = concise_gold(["a b c d", "a b", "a b c d e f g h"])  # median 4 words
    np.testing.assert_allclose(found, [0.0, np.log(2), -np.log(2)])


def test_best_of_one_is_the_same_for_every_ranker_and_the_oracle_is_never_beaten(found: dict[str, Any]) -> None:
    curves = found["curves"]
    first = {name: by_metric["gold.helpful"][0]["value"] for name, by_metric in curves.items()}
    assert len(set(first.values())) == 1
    for by_metric in curves.values():
        for point, best in zip(by_metric["both"], found["oracle"], strict=True):
            assert point["value"] <= best["value"] + 1e-9
    last = {name: by_metric["gold.helpful"][-1]["value"] for name, by_metric in curves.items()}
    assert last["helpful"] == max(last.values())  # rewards are gold with noise
    assert curves["longer"]["gold.concise"][-1]["value"] < curves["shorter"]["gold.concise"][-1]["value"]


def test_only_test_prompts_are_reported(found: dict[str, Any]) -> None:
    assert found["prompts"] == {"test": NUM_PROMPTS // 3, "validation": 8}
    assert found["answers"]["test"] == NUM_PROMPTS // 3 * NUM_ANSWERS


def test_the_page_is_written_from_the_stored_numbers(found: dict[str, Any], tmp_path: Path) -> None:
    stored = json.loads(json.dumps(found | {"prompts_with_enough_answers": 60}, allow_nan=False))
    write_page(stored, tmp_path)
    page = (tmp_path / "best_of_k_real.md").read_text()
    assert "**Prompts.** 60 have at least 16 answers" in page
    assert "the 20 held-out prompts with at least 16\n  scored answers" in page
    assert page.count("### To ") == 8  # two baselines at k = 2, 4, 8, 16
    assert "dropped (9 of helpful (7 train, 2 test); 9 of concise (7 train, 2 test))" in page
    assert "| LSC sum, 75 % reference | 16 |" in page
    assert (tmp_path / "best_of_k_real.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "best_of_k_real_differences.png").read_bytes().startswith(b"\x89PNG")


def test_a_reward_model_of_other_pairs_or_settings_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(config: RunConfig, name: str) -> None:
        (reward_folder(config, name, held_out=False) / "report.json").write_text('{"accuracy": 0.7}')

    monkeypatch.setattr(models, "train_reward", train)
    folder = tmp_path / "run"
    make_material(data, folder, seed=0)
    assert models.trained(study_config(folder, "an/encoder"))["concise"] == {"accuracy": 0.7}
    models.trained(study_config(folder, "an/encoder"))  # what is there is kept
    with pytest.raises(DataError, match=r"reward/helpful was trained otherwise \(property\); delete"):
        models.trained(study_config(folder, "another/encoder"))
    (folder / HELPFUL_PAIRS).write_bytes((folder / HELPFUL_PAIRS).read_bytes() + b"\n")
    with pytest.raises(DataError, match=r"trained otherwise \(pairs\)"):
        models.trained(study_config(folder, "an/encoder"))
