"""Whole alignments with real actors and a tiny policy: files, numbers, determinism, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from actors.cluster.cast import Cast, spawn
from allgood.errors import ConfigError, ReferenceTableError, RoleError, TrainingError
from pipelines.alignment.align import resume, run_align
from pipelines.cast.actors import SharedActors
from pipelines.cast.request import lane_request, role_resources
from pipelines.config.loading import save_config
from pipelines.config.rl import FormulaObjective
from pipelines.config.run import RunConfig
from pipelines.data.prepared import load_prepared
from pipelines.output.files import write_json
from pipelines.output.metrics_log import MetricsLog
from pipelines.references.build import build_references
from pipelines.run.cluster_metrics import PREFIX, gauge_name
from pipelines.run.folder import SFT_SAMPLES, RunFolder
from tests.deploy.dashboard import run_columns
from tests.pipelines.run.test_locks import other_process
from tests.pipelines.tiny_run import (
    FAILING,
    assert_same_run,
    final_weights,
    logged_rows,
    make_base,
    tiny_config,
)

GOLD = {"gold": "tests.pipelines.tiny_rewards:gold", "bars": {"short": 0.0, "vowels": 1.0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("align")
    make_base(folder)
    return folder


@pytest.fixture(scope="module")
def cast(folder: Path, tiny_cast: Cast) -> Cast:
    build_references(tiny_config(folder), tiny_cast)
    return tiny_cast


@pytest.fixture(scope="module")
def finished(folder: Path, cast: Cast) -> RunConfig:
    config = tiny_config(folder, "finished", evaluate=GOLD)
    run_align(config, cast)
    return config


def with_align(config: RunConfig, **changes: object) -> RunConfig:
    sections = config.model_dump(mode="json")
    return RunConfig.model_validate(sections | {"align": sections["align"] | changes})


def test_every_step_is_logged_once_with_its_numbers(finished: RunConfig) -> None:
    logged = logged_rows(finished)
    assert [row["step"] for row in logged] == [1, 2, 3, 4, 5, 6]
    assert [row["rollout_version"] for row in logged] == [0, 1, 2, 3, 4, 5]
    assert logged[0]["kl_k1_sum"] == pytest.approx(0.0, abs=1e-4)  # the first batch comes from pi_0 itself
    assert logged[-1]["kl_k1_sum"] != 0.0
    for row in logged:
        margin = row["reward.short.mean"] - row["reference.short.mean"]
        assert row["margin.short.mean"] == pytest.approx(margin, abs=1e-4)
        combined = row["utility.short.mean"] + row["utility.vowels.mean"]
        assert row["utility.mean"] == pytest.approx(combined, abs=1e-4)
        assert row["num_samples"] == 12
        assert {"learner.gradient_norm", "learner.clip_fraction", "entropy", "share_cut", "gamma"} <= set(row)
        assert {"seconds.generate", "seconds.score.short", "seconds.update", "tokens_per_second"} <= set(row)


def test_every_prompt_of_an_epoch_is_learned_from_once(finished: RunConfig) -> None:
    groups = MetricsLog(RunFolder(finished.folder).groups).read()
    assert [row["step"] for row in groups] == [1, 2, 3, 4, 5, 6]
    drawn = [prompt_id for row in groups for prompt_id in row["trained"] + row["dropped"]]
    prompts = load_prepared(finished.base_folder / "data").prompts
    assert len(drawn) == 6 * 4
    assert set(drawn[:10]) == set(drawn[10:20]) == {prompt.id for prompt in prompts if prompt.split == "alignment"}


def test_the_dashboard_of_a_cluster_asks_for_columns_that_a_run_has(finished: RunConfig) -> None:
    columns = {gauge_name(name).removeprefix(PREFIX) for row in logged_rows(finished) for name in row}
    assert run_columns() <= columns


def test_the_weights_move(finished: RunConfig) -> None:
    before = load_file(finished.base_folder / "sft" / "best" / "model.safetensors")
    after = final_weights(finished)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_validation_happens_every_n_steps_with_gold(finished: RunConfig) -> None:
    evaluated = [row for row in logged_rows(finished) if "validation.score" in row]
    assert [row["step"] for row in evaluated] == [3, 6]
    for row in evaluated:
        assert 0.0 <= row["validation.both_good"] == row["validation.score"] <= 1.0
        assert row["validation.gold.short"] == pytest.approx(row["validation.reward.short.mean"], rel=1e-5)
    samples = pq.read_table(finished.folder / "samples.parquet").to_pandas()
    assert samples.groupby("step").size().to_dict() == {3: 6, 6: 6}  # 3 prompts x 2 samples


def test_the_folder_holds_config_summary_and_checkpoints(finished: RunConfig) -> None:
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert summary["steps"] == 6
    assert summary["kl"] == logged_rows(finished)[-1]["validation.kl_k1_mean"]
    assert (finished.folder / "config.yaml").is_file()
    kept = sorted(path.name for path in (finished.folder / "checkpoints").iterdir())
    assert {"step_000006", f"step_{summary['best']['step']:06d}"} <= set(kept)
    assert len(kept) <= 3


def test_the_model_loads_with_plain_transformers(finished: RunConfig) -> None:
    folder = finished.folder / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer("\n\nHuman: Name a river.\n\nAssistant:", return_tensors="pt").input_ids
    assert model.generate(tokens, max_new_tokens=3, do_sample=False).shape[1] <= tokens.shape[1] + 3
    assert (folder / "generation_config.json").is_file()
    card = (folder / "README.md").read_text()
    assert "log P(short & vowels)" in card
    assert card.startswith("---\nlibrary_name: transformers\n")


def test_an_arm_leaves_nothing_behind_for_the_next_on_the_same_actors(
    folder: Path, cast: Cast, finished: RunConfig
) -> None:
    weighted = tiny_config(
        folder,
        "weighted",
        objective={"kind": "weighted_sum", "weights": {"vowels": 2.0}},
        properties={
            name: section | {"transform": {"kind": "identity"}}
            for name, section in tiny_config(folder).model_dump(mode="json")["properties"].items()
        },
    )
    run_align(weighted, cast)
    again = tiny_config(folder, "again", evaluate=GOLD)
    run_align(again, cast)
    assert_same_run(finished, again)
    assert logged_rows(weighted)[0]["utility.mean"] != logged_rows(finished)[0]["utility.mean"]


def test_a_lane_beside_with_more_replicas_gives_the_same_result(folder: Path, cast: Cast, finished: RunConfig) -> None:
    config = tiny_config(folder, "alongside", evaluate=GOLD, placement={"rollout": {"replicas": 2, "cpus": 0.1}})
    with spawn(lane_request(config)) as own:
        run_align(config, SharedActors(own=own, shared=cast))
    assert_same_run(finished, config)


def test_the_run_ends_at_its_kl_budget(folder: Path, cast: Cast) -> None:
    config = with_align(tiny_config(folder, "budget"), evaluate_every=1, stop_at_kl=1e-9, steps=50)
    summary = run_align(config, cast)
    assert summary["steps"] < 50
    assert "stop_at_kl" in summary["stopped"]


def test_ppo_runs_through_the_same_loop(folder: Path, cast: Cast) -> None:
    config = with_align(tiny_config(folder, "ppo"), steps=2, algorithm={"kind": "ppo"})
    run_align(config, cast)
    assert (config.folder / "checkpoints" / "step_000002" / "learner" / "value_head.safetensors").is_file()


def test_a_folder_with_an_alignment_is_not_overwritten_by_accident(finished: RunConfig, cast: Cast) -> None:
    before = (finished.folder / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"already holds an alignment.*allgood resume.*--overwrite"):
        run_align(finished, cast)
    assert (finished.folder / "metrics.jsonl").read_bytes() == before


def test_a_finished_run_that_is_resumed_stays_as_it_is(finished: RunConfig) -> None:
    folder = finished.folder
    write_json(folder / "summary.json", json.loads((folder / "summary.json").read_text()) | {"evaluation": {"of": 1}})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert resume(folder)["evaluation"] == {"of": 1}
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_second_process_is_kept_out_of_a_run_s_folder(folder: Path, cast: Cast) -> None:
    config = with_align(tiny_config(folder, "shared"), steps=1)
    with other_process(config.folder / ".run.lock", "align"):
        with pytest.raises(ConfigError, match=r"runs/shared is in use: `allgood align` runs there since .*process 12"):
            run_align(config, cast)
        save_config(config, config.folder / "config.yaml")
        with pytest.raises(ConfigError, match="before `allgood resume`"):
            resume(config.folder, cast)
    assert not (config.folder / "metrics.jsonl").exists()


def test_overwrite_checks_everything_before_it_removes_anything(finished: RunConfig, cast: Cast) -> None:
    before = sorted(finished.folder.rglob("*"))
    unknown = finished.model_copy(update={"objective": FormulaObjective(expression="short & rude")})
    with pytest.raises(ConfigError, match="'rude'"):
        run_align(unknown, cast, overwrite=True)
    assert sorted(finished.folder.rglob("*")) == before


def test_overwrite_leaves_no_measurement_of_the_old_run(folder: Path, cast: Cast) -> None:
    config = with_align(tiny_config(folder, "measured"), steps=1)
    run_align(config, cast)
    old = ["evaluation/measurements.json", "evaluation/samples.parquet", "report.html", "plots/kl.png"]
    for name in (*old, f"evaluation/{SFT_SAMPLES}"):
        (config.folder / name).parent.mkdir(exist_ok=True)
        (config.folder / name).touch()
    run_align(config, cast, overwrite=True)
    assert not [name for name in old if (config.folder / name).exists()]
    assert (config.folder / "evaluation" / SFT_SAMPLES).exists()  # of the base; its key says whether it still fits


def test_failures_that_a_function_hides_as_zeros_are_refused_at_the_first_step(folder: Path, cast: Cast) -> None:
    with pytest.raises(RoleError, match=r"property hidden: rewards are exactly 0 for 12 of 12 .* return NaN instead"):
        run_align(tiny_config(folder, "hidden", properties={"hidden": FAILING["hidden"]}), cast)


def test_failing_scores_end_the_run_by_name_and_leave_no_checkpoint(folder: Path, cast: Cast) -> None:
    config = tiny_config(folder, "broken", properties={"rule": FAILING["rule"]})
    with pytest.raises(TrainingError, match=r"100% of the scores of property rule are NaN"):
        run_align(config, cast)
    assert not (config.folder / "model").exists()
    assert not (config.folder / "checkpoints").exists()


def test_a_few_failed_scores_drop_their_samples_and_are_counted(folder: Path, cast: Cast) -> None:
    short = tiny_config(folder).model_dump(mode="json")["properties"]["short"]
    config = tiny_config(folder, "patchy", properties={"short": short, "patchy": FAILING["patchy"]})
    # One sample in twelve fails; the limit of 10 % is for steps of hundreds of samples, not of 32.
    run_align(with_align(config, steps=4, samples_per_prompt=8, max_nan_share=0.5), cast)
    logged = logged_rows(config)
    assert [row["num_samples"] for row in logged] == [32] * 4
    assert sum(row["num_failed_scores.patchy"] for row in logged) > 0
    for row in logged:
        assert row["num_dropped_samples"] == row["num_failed_scores.patchy"]  # of 8 more than 2 are left everywhere
        assert (row["num_dropped_prompts"], row["num_failed_scores.short"]) == (0, 0)
    assert (config.folder / "model").is_dir()


def test_a_run_without_a_reference_table_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ReferenceTableError, match="allgood reference"):
        run_align(make_base(tmp_path))


def test_a_resumed_run_has_the_threads_of_its_checkpoint_whatever_its_nodes_are(
    finished: RunConfig, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = finished.output_dir / "elsewhere", list[RunConfig]()
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("model", "threads.json"))

    @contextmanager
    def kept(config: RunConfig, request_of: object, given: None) -> Iterator[Cast]:
        asked.append(config)
        yield cast

    monkeypatch.setattr("pipelines.alignment.align.cast_for", kept)
    resume(folder)
    assert {role: needs.threads for role, needs in role_resources(asked[0]).items()} == dict.fromkeys(
        ("rollout", "reward.short", "reward.vowels", "reference_policy", "learner"), 1
    )
