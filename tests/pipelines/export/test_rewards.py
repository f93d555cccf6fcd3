"""What `allgood export-rewards` writes gives the numbers of its run, without Ray and wherever it lies."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from actors.cluster.cast import Cast
from actors.messages import Chunk, Rollout
from actors.reward import RewardSpec, RewardWorker
from actors.rollout import RolloutWorker
from actors.start_policy import prompt_chunk, rollout_spec
from allgood.conversations import parse
from allgood.errors import ConfigError, ModelError
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.fresh_references import reference_of_samples
from allgood.scorers.known_rewards import load_known
from allgood.scorers.loading import load_scorer
from allgood.scorers.reference_files import load_references
from allgood.scorers.rewards_file import read_rewards
from allgood.scorers.rewards_spec import SamplesSpec
from pipelines.alignment.align import run_align
from pipelines.alignment.checkpoints import latest
from pipelines.cast.request import scorer_spec
from pipelines.config.run import RunConfig
from pipelines.data import load_prepared
from pipelines.export.rewards import export_report, export_rewards
from pipelines.references.build import build_references
from pipelines.references.treatments import all_good_of, run_table
from pipelines.run.folder import RunFolder
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import liked, make_base, tiny_config

PENALTY = 0.25
SIZES = {"alignment": 20, "validation": 4, "test": 3, "sft": 3, "reward": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_cast: Cast) -> RunConfig:
    """A finished run with a reward model, a rule, and a penalty for cut answers."""
    folder = tmp_path_factory.mktemp("run")
    make_base(folder, SIZES)
    properties = tiny_config(folder).model_dump(mode="json")["properties"]
    properties |= {"liked": liked(folder) | {"reference": {"kind": "quantile", "quantile": 0.75}}}
    config = tiny_config(
        folder,
        properties=properties,
        missing_eos_penalty=PENALTY,
        objective={"kind": "formula", "expression": "short & liked"},
    )
    build_references(config, tiny_cast)
    run_align(config, tiny_cast)
    return config


@pytest.fixture(scope="module")
def exported(run: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moved to another place, far from the models that the run names."""
    export_rewards(run, predictors=True)
    target = tmp_path_factory.mktemp("elsewhere") / "moved"
    shutil.move(run.folder / "rewards", target)
    return target


@pytest.fixture(scope="module")
def sampling(run: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that can draw fresh samples."""
    return export_rewards(run, tmp_path_factory.mktemp("sampling") / "export", fresh_samples=True)


def samples_of(run: RunConfig) -> dict[str, Any]:
    return {
        name: np.array(column) for name, column in pq.read_table(run.folder / "samples.parquet").to_pydict().items()
    }


def test_it_gives_the_numbers_in_the_samples_of_the_run(run: RunConfig, exported: Path) -> None:
    rows = samples_of(run)
    scorer = AllGoodScorer.from_config(exported)
    scores = scorer.score(rows["prompt"].tolist(), rows["response"].tolist(), was_cut=rows["finish_reason"] == "length")
    assert scores.prompt_ids == tuple(rows["prompt_id"])
    assert scores.share_in_table == 1.0
    assert scores.ok.all()
    assert set(scores.reference_from["liked"]) == {"table"}
    for name in run.properties:
        view = scores.properties[name]
        np.testing.assert_allclose(view.rewards, rows[f"reward.{name}"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(view.references, rows[f"reference.{name}"], rtol=1e-6)
        np.testing.assert_allclose(view.utilities, rows[f"utility.{name}"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores.total, rows["utility"], rtol=1e-5, atol=1e-5)
    whole = scorer.score(rows["prompt"].tolist(), rows["response"].tolist(), was_cut=no(len(rows["prompt"])))
    was_cut = rows["finish_reason"] == "length"
    assert was_cut.any()
    np.testing.assert_allclose((whole.total - scores.total)[was_cut], PENALTY, rtol=1e-5)


def test_equal_batches_have_the_bits_of_reward_actors(run: RunConfig, exported: Path) -> None:
    rows = samples_of(run)
    prompts, responses = rows["prompt"].tolist(), rows["response"].tolist()
    scores = AllGoodScorer.from_config(exported).score(prompts, responses, was_cut=np.zeros(len(prompts), dtype=bool))
    ids = rows["prompt_id"].tolist()
    chunk = Chunk(0, 0, 0, 0, tuple(ids), tuple(prompts), 1)
    rollout = Rollout(chunk, (), (), (), (), tuple(responses), (), 0, 0.0)
    all_good = all_good_of(run, run_table(run), sorted(set(ids)), key="mine")
    for name in run.properties:
        worker = RewardWorker(RewardSpec(name, scorer_spec(run, name)))
        worker.set_treatment(all_good.properties[name])
        view = worker.score(rollout, "mine").view
        assert scores.properties[name].rewards.tobytes() == view.rewards.tobytes()
        assert scores.properties[name].utilities.tobytes() == view.utilities.tobytes()


def test_every_form_of_a_prompt_is_the_same_row(run: RunConfig, exported: Path) -> None:
    prompt = load_prepared(RunFolder(run.base_folder).data).prompts[0]
    question = parse(prompt.text)[0].content
    forms: list[Any] = [prompt.text, prompt.text.strip(), question, [{"role": "user", "content": question}]]
    scorer = AllGoodScorer.from_config(exported)
    scores = scorer.score(forms, ["Tea."] * 3 + [[{"role": "assistant", "content": "Tea.<eos>"}]], was_cut=no(4))
    assert scores.prompt_ids == (prompt.id,) * 4
    assert len(set(scores.total.tolist())) == 1


def test_prompts_that_were_never_sampled_have_predicted_references_or_fail_with_the_reason(exported: Path) -> None:
    scorer = AllGoodScorer.from_config(exported)
    scores = scorer.score(["What is a comet?"], ["A snowball."], was_cut=no(1))
    # a rule has no features to predict from
    assert scores.reference_from == {"short": ("nowhere",), "vowels": ("constant",), "liked": ("predictor",)}
    assert np.isfinite(scores.properties["liked"].utilities).all()
    assert not scores.ok.any()
    assert scores.reasons[0] is not None
    assert scores.reasons[0].startswith("short: the prompt has no reference")
    assert scores.share_in_table == 0.0


def test_a_predictor_says_how_its_quantiles_held(run: RunConfig, exported: Path) -> None:
    coverage = json.loads((exported / "manifest.json").read_text())["predictors"]
    assert coverage["liked"]["num_held_out"] == 4
    assert "predictor of liked" in export_report(exported)
    assert "quantile: 0.75" in (exported / "rewards.yaml").read_text()


def test_a_file_that_was_changed_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "copy")
    path = tmp_path / "copy" / "references" / "liked.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"liked.safetensors is missing or was changed .*; export the rewards again"):
        AllGoodScorer.from_config(tmp_path / "copy")


def test_another_process_gets_the_same_scorer(exported: Path) -> None:
    scorer = AllGoodScorer.from_config(exported)
    again = pickle.loads(pickle.dumps(scorer))
    given = (["What is tea?"], ["A drink."])
    assert again.score(*given, was_cut=no(1)).answer() == scorer.score(*given, was_cut=no(1)).answer()


def test_a_lagrangian_has_its_last_multipliers_and_is_refused_before_it_has_any(
    tmp_path: Path, tiny_cast: Cast
) -> None:
    config = make_base(tmp_path)
    write_references(config)
    lagrangian = {"kind": "lagrangian", "maximise": "short", "thresholds": {"vowels": 1.0}, "learning_rate": 0.5}
    config = tiny_config(tmp_path, objective=lagrangian)
    with pytest.raises(ConfigError, match="has no checkpoint with them; align it first"):
        export_rewards(config)
    run_align(config, tiny_cast)
    checkpoint = latest(RunFolder(config.folder).checkpoints, print)
    assert checkpoint is not None
    assert checkpoint.state.multipliers["vowels"] != 1.0
    scorer = AllGoodScorer.from_config(export_rewards(config))
    prompt = load_prepared(RunFolder(config.base_folder).data).prompts[0].text
    scores = scorer.score([prompt], ["tea"])
    utilities = {name: float(view.utilities[0]) for name, view in scores.properties.items()}
    expected = utilities["short"] + checkpoint.state.multipliers["vowels"] * (utilities["vowels"] - 1.0)
    np.testing.assert_allclose(scores.total[0], expected, rtol=1e-6)


def test_normalise_then_sum_has_no_reward_of_a_response(tmp_path: Path) -> None:
    properties = tiny_config(tmp_path).model_dump(mode="json")["properties"]
    raw = {name: setting | {"transform": {"kind": "identity"}} for name, setting in properties.items()}
    config = tiny_config(tmp_path, properties=raw, objective={"kind": "normalise_then_sum"})
    with pytest.raises(ConfigError, match="normalise_then_sum is a rule for advantages"):
        export_rewards(config)


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="is no folder of exported rewards; give another --output"):
        export_rewards(make_base(tmp_path), tmp_path / "mine")


def no(rows: int) -> np.ndarray:
    return np.zeros(rows, dtype=bool)


def test_it_holds_texts_with_the_rewards_that_models_gave_them_in_the_run(run: RunConfig, exported: Path) -> None:
    known = load_known(exported / "known_rewards.json")
    assert known is not None
    assert set(known.rewards) == {"liked"}  # functions are compared by their code
    assert 2 <= len(known.responses) <= 32
    found = AllGoodScorer.from_config(exported).score(known.prompts, known.responses, was_cut=no(len(known.prompts)))
    np.testing.assert_allclose(found.properties["liked"].rewards, known.rewards["liked"], rtol=1e-4, atol=1e-5)


def test_fresh_samples_of_a_prompt_give_the_reference_of_the_table(run: RunConfig, sampling: Path) -> None:
    spec = read_rewards(sampling)
    policy = spec.start_policy
    assert policy is not None
    assert Path(policy.source) == sampling / "start_policy"
    assert (policy.num_samples, policy.max_new_tokens, policy.max_prompt_tokens) == (8, 12, 64)
    assert spec.sampled == {
        "short": SamplesSpec("gaussian_quantile", 0.85),
        "liked": SamplesSpec("gaussian_quantile", 0.75),
    }
    kept = pq.read_table(RunFolder(run.base_folder).references / "samples.parquet").to_pylist()
    firsts = {row["chunk_seed"]: row for row in reversed(kept)}  # the first prompt of a chunk has the chunk's numbers
    assert len(firsts) > 2
    worker = RolloutWorker(rollout_spec(policy, threads=1))
    table = {name: load_references(str(spec.properties[name].reference.table)).values for name in spec.sampled}
    for seed, row in firsts.items():
        chunk = prompt_chunk(row["prompt_id"], row["prompt"], num_samples=8, seed=int(seed))
        responses = worker.generate(chunk).responses
        assert list(responses) == [each["response"] for each in kept if each["prompt_id"] == row["prompt_id"]]
        for name, samples in spec.sampled.items():
            rewards = load_scorer(spec.properties[name].scorer).score([row["prompt"]] * 8, responses).rewards
            found = reference_of_samples(samples, row["prompt_id"], rewards).values[row["prompt_id"]]
            # A rule has the bits of the table; a model's batches were larger there.
            tolerance = 0.0 if name == "short" else 1e-5
            assert found == pytest.approx(table[name][row["prompt_id"]], rel=tolerance, abs=tolerance)


def test_the_start_policy_is_left_out_unless_it_is_asked_for(exported: Path, sampling: Path) -> None:
    assert not (exported / "start_policy").exists()
    assert read_rewards(exported).start_policy is None
    assert not read_rewards(exported).sampled
    assert "start_policy/model.safetensors" in json.loads((sampling / "manifest.json").read_text())["files"]


def test_without_references_from_samples_nobody_needs_the_start_policy(tmp_path: Path) -> None:
    config = make_base(tmp_path)
    properties = config.model_dump(mode="json")["properties"]
    properties["short"]["reference"] = {"kind": "constant", "value": 1.0}
    with pytest.raises(ConfigError, match="no property of this run has one; leave it out"):
        export_rewards(tiny_config(tmp_path, properties=properties), fresh_samples=True)
