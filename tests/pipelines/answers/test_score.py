"""`allgood score` with real reward actors: the numbers, resuming, the references, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from actors.cluster.cast import Cast
from allgood.errors import AllgoodError, ConfigError, DataError, ReferenceTableError
from pipelines.answers import rewards
from pipelines.answers.reading import read_answers
from pipelines.answers.rewards import RawRewards, parts_of, raw_rewards
from pipelines.answers.score import score_file
from pipelines.config.run import RunConfig
from pipelines.output.files import claimed
from tests.pipelines import tiny_rewards
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import FAILING, make_base, tiny_config

WORDS = ("tea", "bread and butter", "a long river", "o", "nothing at all", "flour")


def log_sigmoid(z: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -z)


def write_candidates(path: Path, num_prompts: int = 5) -> Path:
    rows = [
        {"prompt": f"Question {p}?", "responses": [{"text": f"{word} {p}", "stars": len(word)} for word in WORDS]}
        for p in range(num_prompts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return make_base(tmp_path_factory.mktemp("score"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewards, "ROWS_PER_PART", 2 * len(WORDS))


def scored(path: Path) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in pq.read_table(path).to_pydict().items()}


def test_with_their_own_references_answers_get_the_numbers_of_the_definitions(
    config: RunConfig, tiny_cast: Cast, tmp_path: Path
) -> None:
    source = write_candidates(tmp_path / "candidates.jsonl")
    report = score_file(config, source, tmp_path / "scored.parquet", references="answers", cast=tiny_cast)
    rows = scored(tmp_path / "scored.parquet")
    short = np.array(tiny_rewards.short(rows["prompt"], rows["response"]))
    vowels = np.array(tiny_rewards.vowels(rows["prompt"], rows["response"]))
    np.testing.assert_allclose(rows["reward.short"], short, rtol=1e-6)
    by_prompt = short.reshape(5, len(WORDS))
    reference = by_prompt.mean(1) + 1.0364334 * by_prompt.std(1, ddof=1)  # the Gaussian 85 % quantile of the config
    np.testing.assert_allclose(rows["reference.short"], reference.repeat(len(WORDS)), rtol=1e-5)
    z = short - reference.repeat(len(WORDS))
    np.testing.assert_allclose(rows["p_good.short"], 1 / (1 + np.exp(-z)), rtol=1e-5)
    # vowels has no reference: r_ref = 0; the objective is the conjunction of both
    np.testing.assert_allclose(rows["utility"], log_sigmoid(z) + log_sigmoid(vowels), rtol=1e-4)
    assert rows["stars"].tolist() == [len(word) for _ in range(5) for word in WORDS]
    assert report["responses"] == 30
    assert report["without utility"] == 0
    assert not (tmp_path / "scored.parquet.parts").exists()


def test_jsonl_and_parquet_hold_the_same_rows(config: RunConfig, tiny_cast: Cast, tmp_path: Path) -> None:
    source = write_candidates(tmp_path / "candidates.jsonl", num_prompts=2)
    for ending in ("parquet", "jsonl"):
        score_file(config, source, tmp_path / f"scored.{ending}", references="answers", cast=tiny_cast)
    lines = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert lines == pq.read_table(tmp_path / "scored.parquet").to_pylist()


def test_finished_parts_are_not_scored_again(config: RunConfig, tiny_cast: Cast, tmp_path: Path) -> None:
    answers = read_answers(write_candidates(tmp_path / "candidates.jsonl"))
    folder = tmp_path / "parts"
    whole = raw_rewards(config, answers, folder, tiny_cast, canned=False)
    assert len(parts_of(answers)) == 3
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}
    (folder / "part-00001.parquet").unlink()
    again = raw_rewards(config, answers, folder, tiny_cast, canned=False)
    np.testing.assert_array_equal(again.rewards["short"], whole.rewards["short"])
    changed = [path.name for path, time in kept.items() if path.stat().st_mtime_ns != time]
    assert changed == ["part-00001.parquet"]


def test_parts_of_another_file_are_refused(config: RunConfig, tiny_cast: Cast, tmp_path: Path) -> None:
    first = read_answers(write_candidates(tmp_path / "first.jsonl", num_prompts=1))
    raw_rewards(config, first, tmp_path / "parts", tiny_cast, canned=False)
    other = read_answers(write_candidates(tmp_path / "other.jsonl", num_prompts=2))
    with pytest.raises(DataError, match="scores of another run or another file .they differ in texts"):
        raw_rewards(config, other, tmp_path / "parts", tiny_cast, canned=False)


def test_other_canned_replies_cost_no_other_score(config: RunConfig, tiny_cast: Cast, tmp_path: Path) -> None:
    answers = read_answers(write_candidates(tmp_path / "candidates.jsonl"))
    short = config.model_dump(mode="json")["properties"]["short"]

    def scored_with(reference: dict[str, Any]) -> RawRewards:
        changed = tiny_config(config.base_folder.parent, properties={"short": short | {"reference": reference}})
        return raw_rewards(changed, answers, tmp_path / "parts", tiny_cast, canned=True)

    def part_times() -> list[int]:
        return [path.stat().st_mtime_ns for path in sorted((tmp_path / "parts").glob("part-*.parquet"))]

    first = scored_with({"kind": "canned", "replies": ["No."]})
    times = part_times()
    second = scored_with({"kind": "canned", "replies": ["Never ever.", "No."]})
    for raw, replies in ((first, ["No."]), (second, ["Never ever.", "No."])):
        expected = np.mean(tiny_rewards.short([], replies))
        np.testing.assert_allclose(raw.canned["short"], np.full(5, expected), rtol=1e-6)
    assert scored_with({"kind": "mean"}).canned == {}
    assert part_times() == times


def test_two_at_once_are_refused(config: RunConfig, tmp_path: Path) -> None:
    source = write_candidates(tmp_path / "candidates.jsonl")
    with (
        claimed(tmp_path / "s.parquet.parts" / ".lock", "free"),
        pytest.raises(ConfigError, match=r"another process is scoring into .*s\.parquet\.parts; wait for it"),
    ):
        score_file(config, source, tmp_path / "s.parquet", references="answers")


def test_a_failed_score_is_missing_and_counted(ray_cluster: None, config: RunConfig, tmp_path: Path) -> None:
    changed = tiny_config(config.base_folder.parent, properties={"broken": FAILING["broken"]})
    report = score_file(changed, write_candidates(tmp_path / "c.jsonl"), tmp_path / "scored.jsonl", references="table")
    assert report["broken"]["failed"] == 5  # one answer in six has a b
    assert report["without utility"] == 5
    lines = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert {line["utility"] is None for line in lines if "b" in line["response"]} == {True}


def test_canned_references_are_scored_for_the_prompts_of_the_file(
    config: RunConfig, tiny_cast: Cast, tmp_path: Path
) -> None:
    short = config.model_dump(mode="json")["properties"]["short"]
    canned = {"kind": "canned", "replies": ["No.", "Never ever."]}
    changed = tiny_config(config.base_folder.parent, properties={"short": short | {"reference": canned}})
    score_file(
        changed, write_candidates(tmp_path / "c.jsonl"), tmp_path / "s.parquet", references="answers", cast=tiny_cast
    )
    expected = np.mean(tiny_rewards.short([], canned["replies"]))
    np.testing.assert_allclose(scored(tmp_path / "s.parquet")["reference.short"], expected, rtol=1e-6)


def test_a_canned_reply_that_cannot_be_scored_is_left_out_as_in_the_table(
    config: RunConfig, tiny_cast: Cast, tmp_path: Path
) -> None:
    def references(replies: list[str]) -> list[float]:
        canned = FAILING["broken"] | {"reference": {"kind": "canned", "replies": replies}}
        changed = tiny_config(config.base_folder.parent, properties={"broken": canned})
        output = tmp_path / f"{len(replies)}.parquet"
        score_file(changed, write_candidates(tmp_path / "c.jsonl"), output, references="answers", cast=tiny_cast)
        return scored(output)["reference.broken"].tolist()

    np.testing.assert_array_equal(references(["No.", "a b"]), references(["No."]))
    with pytest.raises(
        DataError, match="no prompt has two scored answers and, where it needs one, a scored canned reply"
    ):
        references(["a b", "b", "bb"])


def test_z_scores_need_no_row_of_a_prompt(tiny_cast: Cast, tmp_path: Path) -> None:
    write_references(make_base(tmp_path))
    short = tiny_config(tmp_path).model_dump(mode="json")["properties"]["short"]
    z_score = {"short": short | {"reference": {"kind": "none"}, "transform": {"kind": "z_score"}}}
    config = tiny_config(tmp_path, properties=z_score, objective={"kind": "weighted_sum"})
    score_file(
        config, write_candidates(tmp_path / "c.jsonl"), tmp_path / "s.parquet", references="table", cast=tiny_cast
    )
    samples = pq.read_table(config.base_folder / "references" / "samples.parquet")["reward.short"].to_numpy()
    rows = scored(tmp_path / "s.parquet")
    expected = (rows["reward.short"] - samples.mean()) / samples.std(ddof=1)
    np.testing.assert_allclose(rows["utility"], expected, rtol=1e-4)


def test_prompts_without_a_row_in_the_table_are_named_before_anything_is_scored(tmp_path: Path) -> None:
    config = make_base(tmp_path)
    write_references(config)
    with pytest.raises(ReferenceTableError) as caught:
        score_file(config, write_candidates(tmp_path / "c.jsonl"), tmp_path / "s.parquet", references="table")
    message = str(caught.value)
    assert "5 of 5 prompts have no short reference" in message
    assert "Human: Question 0?" in message
    assert "--references answers" in message
    assert not (tmp_path / "s.parquet.parts").exists()


def test_prompts_of_the_run_are_scored_with_its_table(tiny_cast: Cast, tmp_path: Path) -> None:
    config = make_base(tmp_path)
    write_references(config)
    samples = pq.read_table(config.base_folder / "references" / "samples.parquet")
    pq.write_table(samples.select(["prompt", "response", "finish_reason"]), tmp_path / "rows.parquet")
    score_file(config, tmp_path / "rows.parquet", tmp_path / "s.parquet", references="table", cast=tiny_cast)
    rows = scored(tmp_path / "s.parquet")
    np.testing.assert_allclose(rows["reward.short"], samples["reward.short"].to_numpy(), rtol=1e-6)
    table = pq.read_table(config.base_folder / "references" / "table.parquet").to_pandas().set_index("prompt_id")
    short = table[table["property"] == "short"].loc[rows["prompt_id"]]
    np.testing.assert_allclose(rows["reference.short"], short["mean"] + 1.0364334 * short["std"], rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "output", "references", "sentence"),
    [
        ([{"prompt": "Q", "response": "A"}], "s.parquet", "answers", "1 of 1 prompts have a single response"),
        ([{"prompt": "Q", "response": "A"}], "s.csv", "answers", "the output must end in .jsonl"),
        ([{"prompt": "Q", "response": "A"}], "rows.jsonl", "answers", "is the input; give another output"),
        ([{"prompt": "Q", "response": "A"}], "rows.jsonl/s.jsonl", "answers", "rows.jsonl: Not a directory"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    config: RunConfig, tmp_path: Path, rows: list[dict[str, Any]], output: str, references: Any, sentence: str
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(AllgoodError) as caught:
        score_file(config, source, tmp_path / output, references=references)
    assert sentence in str(caught.value)
