"""`allgood best-of-k`: on cached samples and on candidates; what is written, read back, and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.cluster.cast import Cast
from allgood.errors import AllgoodError, ConfigError, DataError, ReferenceTableError
from pipelines.best_of_k.choose import CachedSplits, CandidateFile, Choosing, choose
from pipelines.best_of_k.tilted import Tilting
from pipelines.config.objectives import NormaliseThenSumObjective
from pipelines.config.run import RunConfig
from pipelines.data import prepare
from tests.pipelines.answers.test_score import WORDS, write_candidates
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base, tiny_config

CACHED = CachedSplits(("alignment", "validation"))
GOLD = {"gold": "tests.pipelines.tiny_rewards:gold", "bars": {"short": 0.0, "vowels": 1.0}}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("best_of_k")
    make_base(folder)
    config = tiny_config(folder, evaluate=GOLD)
    write_references(config)
    return config


def selected(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_cached_samples_give_a_frontier_a_figure_and_a_selection(config: RunConfig, tmp_path: Path) -> None:
    summary = choose(config, CACHED, Choosing(), tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert [step["k"] for step in summary["frontier"]] == list(range(1, 9))  # 8 samples of each of the 14 prompts
    assert {step["prompts"] for step in summary["frontier"]} == {14}
    values = summary["frontier"][-1]["values"]
    assert values["utility"]["value"] > summary["frontier"][0]["values"]["utility"]["value"]
    assert {"p_good.short", "reward.vowels", "gold.short", "all good by gold", "words"} <= values.keys()


def test_the_selected_response_has_the_highest_utility_of_its_prompt(config: RunConfig, tmp_path: Path) -> None:
    choose(config, CACHED, Choosing(), tmp_path)
    samples = pq.read_table(config.base_folder / "references" / "samples.parquet").to_pandas()
    rows = selected(tmp_path / "selected.jsonl")
    assert len(rows) == 14
    for row in rows:
        mine = samples[samples["prompt_id"] == row["prompt_id"]].sort_values("sample")
        short, vowels = mine["reward.short"].to_numpy(), mine["reward.vowels"].to_numpy()
        reference = short.mean() + 1.0364334 * short.std(ddof=1)
        utility = -np.logaddexp(0, reference - short) - np.logaddexp(0, -vowels)
        assert row["response"] == mine["response"].iloc[int(utility.argmax())]
        assert row["utility"] == pytest.approx(utility.max(), rel=1e-4)


def test_pairs_and_the_optimum_are_written_for_other_trainers(config: RunConfig, tmp_path: Path) -> None:
    summary = choose(config, CACHED, Choosing(tilting=Tilting(0.5, rows_per_prompt=3)), tmp_path)
    best = {row["prompt_id"]: row["response"] for row in selected(tmp_path / "selected.jsonl")}
    pairs = pd.DataFrame(selected(tmp_path / "pairs.jsonl"))
    assert {key: chosen[0]["content"] for key, chosen in zip(pairs["prompt_id"], pairs["chosen"], strict=True)} == best
    assert (pairs["utility.chosen"] > pairs["utility.rejected"]).all()
    assert summary["pairs"] == {"rows": 14, "prompts_with_ties": 0}

    drawn, weighted = (pd.DataFrame(selected(tmp_path / f"{name}.jsonl")) for name in ("tilted", "weighted"))
    assert len(drawn) == summary["tilted"]["rows_drawn"] == 3 * 14
    gamma = summary["tilted"]["gamma"]
    for _, rows in weighted.groupby("prompt_id"):
        ratio = rows["weight"].max() / rows["weight"].min()
        assert ratio == pytest.approx(np.exp((rows["utility"].max() - rows["utility"].min()) / gamma), rel=1e-3)
    assert drawn["utility"].mean() > weighted["utility"].mean()

    choose(config, CACHED, Choosing(format="parquet"), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == [
        *("frontier.png", "pairs.parquet", "selected.parquet", "summary.json")
    ]
    assert pq.read_table(tmp_path / "pairs.parquet").num_rows == 14


def test_another_objective_chooses_other_responses(config: RunConfig, tmp_path: Path) -> None:
    properties = config.model_dump(mode="json")["properties"]
    raw = {name: setting | {"transform": {"kind": "identity"}} for name, setting in properties.items()}
    shortest = tiny_config(
        config.base_folder.parent,
        properties=raw,
        objective={"kind": "weighted_sum", "weights": {"short": 1.0, "vowels": 0.0}},
    )
    choose(shortest, CACHED, Choosing(), tmp_path)
    samples = pq.read_table(config.base_folder / "references" / "samples.parquet").to_pandas()
    lengths = samples["response"].str.len().groupby(samples["prompt_id"]).min()
    for row in selected(tmp_path / "selected.jsonl"):
        assert len(str(row["response"])) == lengths[row["prompt_id"]]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_data_loader_reads_the_selection_back(config: RunConfig, tmp_path: Path, form: str) -> None:
    choose(config, CACHED, Choosing(format=form), tmp_path / "chosen")
    path = tmp_path / "chosen" / f"selected.{form}"
    pairs = tmp_path / "pairs.jsonl"
    texts = [("A?", "yes", "no"), ("B?", "one", "two"), ("C?", "big", "small")]
    pairs.write_text("".join(json.dumps({"prompt": p, "chosen": c, "rejected": r}) + "\n" for p, c, r in texts))
    run = RunConfig.model_validate(
        {
            "name": "sft_on_selected",
            "output_dir": tmp_path / "runs",
            "data": {"pairs": {"short": {"path": str(pairs)}}, "demonstrations": {"path": str(path)}},
            "policy": {"model": "unused"},
            "properties": {"short": {"kind": "function", "function": "tests.pipelines.tiny_rewards:short"}},
        }
    )
    rows = pq.read_table(path).to_pylist() if form == "parquet" else selected(path)
    read = {(row.prompt, row.response, row.split) for row in prepare(run).demonstrations}
    assert read == {(row["prompt"], row["response"], row["split"]) for row in rows}
    assert {row["split"] for row in rows} == {"sft", "validation"}  # prompts of the alignment split are for SFT now


def test_rejection_sampling_leaves_out_prompts_without_a_good_answer(config: RunConfig, tmp_path: Path) -> None:
    everything = choose(config, CACHED, Choosing(), tmp_path / "all")
    best = sorted(float(str(row["utility"])) for row in selected(tmp_path / "all" / "selected.jsonl"))
    threshold = (best[6] + best[7]) / 2
    half = choose(config, CACHED, Choosing(min_utility=threshold), tmp_path / "half")
    assert everything["selected"]["rows"] == 14
    assert half["selected"] | {"by_split": None} == {
        "rows": 7,
        "by_split": None,
        "prompts_below_min_utility": 7,
        "prompts_without_choice": 0,
        "select_from": None,
        "min_utility": threshold,
    }
    nobody = choose(config, CACHED, Choosing(min_utility=1.0), tmp_path / "half")
    assert nobody["selected"]["rows"] == 0
    assert not list((tmp_path / "half").glob("selected.*"))  # nothing of the earlier selection is left


def test_where_most_prompts_have_no_scored_answer_the_end_of_the_curve_must_be_given(tmp_path: Path) -> None:
    def fail(rows: pa.Table) -> pa.Table:
        failed = set(rows["prompt_id"].unique().to_pylist()[3:])
        rewards = [
            np.nan if prompt_id in failed else reward
            for prompt_id, reward in zip(rows["prompt_id"].to_pylist(), rows["reward.vowels"].to_pylist(), strict=True)
        ]
        return rows.set_column(rows.column_names.index("reward.vowels"), "reward.vowels", pa.array(rewards))

    make_base(tmp_path)
    broken = tiny_config(tmp_path, evaluate=GOLD)
    write_references(broken, change=fail)
    with pytest.raises(DataError, match="11 of 14 have no scored answer, the others 8 to 8; give --max-k"):
        choose(broken, CACHED, Choosing(), tmp_path / "out")
    assert choose(broken, CACHED, Choosing(max_k=4), tmp_path / "out")["prompts_in_curve"] == 3


def test_selecting_from_the_first_answers_ignores_the_others(config: RunConfig, tmp_path: Path) -> None:
    choose(config, CACHED, Choosing(select_from=3), tmp_path)
    rows = selected(tmp_path / "selected.jsonl")
    assert {row["chosen_from"] for row in rows} == {3}
    assert max(int(str(row["sample"])) for row in rows) <= 2


def test_candidates_with_unlike_numbers_of_answers(config: RunConfig, tiny_cast: Cast, tmp_path: Path) -> None:
    path = write_candidates(tmp_path / "candidates.jsonl", num_prompts=4)
    lines = path.read_text().splitlines()
    fewer = json.loads(lines[0])
    fewer["responses"] = fewer["responses"][:2]
    single = {"prompt": "Only one?", "responses": ["one"]}
    path.write_text("\n".join([json.dumps(fewer), *lines[1:], json.dumps(single)]))
    summary = choose(config, CandidateFile(path, "answers"), Choosing(max_k=4), tmp_path / "out", tiny_cast)
    assert summary["prompts"] == 4
    assert summary["prompts_in_curve"] == 3
    assert [step["prompts_with_k_answers"] for step in summary["frontier"]] == [4, 4, 3, 3]
    assert "stars" in summary["frontier"][0]["values"]  # a number that the file has for every answer
    assert summary["selected"]["rows"] == 4
    again = choose(config, CandidateFile(path, "answers"), Choosing(max_k=6), tmp_path / "out", tiny_cast)
    assert len(again["frontier"]) == len(WORDS)


def test_what_a_file_says_of_an_earlier_scoring_is_not_reported(
    config: RunConfig, tiny_cast: Cast, tmp_path: Path
) -> None:
    plain = write_candidates(tmp_path / "plain.jsonl", num_prompts=2)
    own = choose(config, CandidateFile(plain, "answers"), Choosing(), tmp_path / "plain", tiny_cast)
    stale = {"utility": 9.0, "p_good.short": 9.0, "reward.other": 9.0, "margin.short": 9.0, "words": 9.0, "judge": 9.0}
    rows = [json.loads(line) for line in plain.read_text().splitlines()]
    scored = tmp_path / "scored.jsonl"
    scored.write_text("".join(json.dumps(row | stale) + "\n" for row in rows))
    found = choose(config, CandidateFile(scored, "answers"), Choosing(), tmp_path / "scored", tiny_cast)
    for mine, theirs in zip(found["frontier"], own["frontier"], strict=True):
        assert mine["values"].pop("judge")["value"] == pytest.approx(9.0)
        assert mine["values"] == theirs["values"]


def test_a_run_and_the_summary_of_another_command_are_not_overwritten(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(ConfigError, match="holds a run, which would be overwritten; give another folder"):
        choose(config, CACHED, Choosing(), tmp_path / "run")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "summary.json").write_text('{"trials": {}}')
    with pytest.raises(ConfigError, match=r"summary\.json is of another command and would be overwritten"):
        choose(config, CACHED, Choosing(), tmp_path / "sweep")
    for _ in range(2):  # its own summary is replaced
        choose(config, CACHED, Choosing(), tmp_path / "mine")


def test_a_folder_that_cannot_be_made_is_told_before_any_work(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    for folder in (tmp_path / "README.md", tmp_path / "README.md" / "sub"):
        with pytest.raises(AllgoodError, match=r"^cannot write .*README\.md.*: Not a directory .*; give another place"):
            choose(config, CACHED, Choosing(), folder)


def test_where_nothing_was_scored_the_error_names_the_cause(
    config: RunConfig, ray_cluster: None, tmp_path: Path
) -> None:
    broken = {
        "kind": "function",
        "function": "tests.pipelines.tiny_rewards:always_broken",
        "reference": {"kind": "mean"},
        "placement": {"cpus": 0.1},
    }
    changed = tiny_config(config.base_folder.parent, properties={"broken": broken})
    path = write_candidates(tmp_path / "candidates.jsonl", num_prompts=1)
    with pytest.raises(
        DataError, match=r"no prompt has two scored answers .*; 6 answers have no broken score: scoring failed"
    ):
        choose(changed, CandidateFile(path, "answers"), Choosing(), tmp_path / "out")


def test_one_answer_per_prompt_is_refused(config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "single.jsonl"
    path.write_text(json.dumps({"prompt": "Q?", "response": "A"}) + "\n")
    with pytest.raises(DataError, match="each of the 1 prompts of .* has one response, so there is nothing to choose"):
        choose(config, CandidateFile(path, "answers"), Choosing(), tmp_path / "out")


@pytest.mark.parametrize(
    ("choosing", "sentence"),
    [
        (Choosing(max_k=9), "--max-k 9 exceeds the answers of every prompt; the most are 8"),
        (Choosing(select_from=20), "--select-from 20 exceeds the answers of every prompt; the most are 8"),
    ],
)
def test_more_than_there_are_is_refused(config: RunConfig, tmp_path: Path, choosing: Choosing, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        choose(config, CACHED, choosing, tmp_path)


def test_a_k_that_no_prompt_of_a_file_reaches_is_refused_before_scoring(config: RunConfig, tmp_path: Path) -> None:
    path = write_candidates(tmp_path / "candidates.jsonl", num_prompts=1)
    with pytest.raises(ConfigError, match="--max-k 7 exceeds the answers of every prompt; the most are 6"):
        choose(config, CandidateFile(path, "answers"), Choosing(max_k=7), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_objective_without_a_utility_is_refused(config: RunConfig, tmp_path: Path) -> None:
    changed = config.model_copy(update={"objective": NormaliseThenSumObjective()})
    with pytest.raises(ConfigError, match="normalise_then_sum is a rule for advantages"):
        choose(changed, CACHED, Choosing(), tmp_path)


def test_samples_with_rewards_of_another_model_are_refused(config: RunConfig, tmp_path: Path) -> None:
    properties = config.model_dump(mode="json")["properties"]
    other = properties["short"] | {"function": "tests.pipelines.tiny_rewards:broken_on_b"}
    changed = tiny_config(config.base_folder.parent, properties=properties | {"short": other})
    with pytest.raises(ReferenceTableError, match="belongs to another run: reward_model.short"):
        choose(changed, CACHED, Choosing(), tmp_path)


def test_an_unknown_split_and_one_without_samples_are_refused(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the split 'test' is named more than once"):
        choose(config, CachedSplits(("test", "test")), Choosing(), tmp_path)
    with pytest.raises(ConfigError, match="there is no split 'dev'"):
        choose(config, CachedSplits(("dev",)), Choosing(), tmp_path)
    with pytest.raises(ReferenceTableError, match="no samples of the test split"):
        choose(config, CachedSplits(("test",)), Choosing(), tmp_path)


def test_failed_scores_are_dropped_and_counted(tmp_path: Path) -> None:
    config = make_base(tmp_path)

    def one_failure(rows: pa.Table) -> pa.Table:
        column = rows["reward.short"].to_pylist()
        column[3] = float("nan")
        return rows.set_column(rows.column_names.index("reward.short"), "reward.short", pa.array(column))

    write_references(config, change=one_failure)
    summary = choose(config, CACHED, replace(Choosing(), max_k=8), tmp_path / "out")
    assert summary["answers_without_utility"] == 1
    assert summary["missing"]["short"] == {"too_long": 0, "failed": 1, "without_reference": 0}
    assert summary["prompts_in_curve"] == 13
    assert summary["selected"]["rows"] == 14
