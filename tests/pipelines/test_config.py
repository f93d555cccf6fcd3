"""Run files: what loads, what is refused, and in which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.learning.specs import Grpo
from allgood.errors import ConfigError
from allgood.scorers import yaml12
from pipelines.config import schema
from pipelines.config.loading import load_config, load_run, save_config
from pipelines.config.properties import CannedReference, DrawsReference, ModelProperty, QuantileReference
from pipelines.config.rl import (
    AdaptiveController,
    FormulaObjective,
    TargetController,
    WeightedSumObjective,
)
from pipelines.config.run import RunConfig

RUN = """
name: tiny
world: {}
policy:
  architecture: {model_type: llama, hidden_size: 64}
properties:
  helpful:
    kind: model
    train: &training {max_tokens: 64}
  harmless:
    kind: model
    train: *training
    reference: {kind: canned, replies: [on, "no"]}
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(RUN)
    return path


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_numbers_with_exponent_are_numbers_and_on_is_text(run_file: Path) -> None:
    run_file.write_text(RUN + "kl: {coefficient: 1e-3}\n")
    config = load_config(run_file)
    assert config.kl.coefficient == 0.001
    harmless = config.properties["harmless"]
    assert isinstance(harmless, ModelProperty)
    assert harmless.reference == CannedReference(replies=["on", "no"])


def test_a_date_is_text(run_file: Path) -> None:
    assert load_config(run_file, ["name=2026-01-31"]).name == "2026-01-31"


def test_saved_config_loads_to_the_same_config(run_file: Path, tmp_path: Path) -> None:
    config = load_config(run_file, ["sampling.stop=[\"\\n\\nHuman:\", 'off', '1e3']", "kl.coefficient=1e-7"])
    save_config(config, tmp_path / "saved" / "config.yaml")
    assert load_config(tmp_path / "saved" / "config.yaml") == config


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_dumped_yaml_parses_to_the_same_value(value: object) -> None:
    assert yaml12.parse(yaml12.dump({"value": value}), source="test") == {"value": value}


# --- overrides


def test_overrides_apply_from_left_to_right(run_file: Path) -> None:
    assert load_config(run_file, ["kl.coefficient=0.2", "kl.coefficient=0.3"]).kl.coefficient == 0.3


def test_an_override_has_no_comments(run_file: Path) -> None:
    config = load_config(run_file, ["output_dir=/runs #2", "tracking.group=#3"])
    assert (str(config.output_dir), config.tracking.group) == ("/runs #2", "#3")
    assert load_config(run_file, ["tracking.group='a # b'"]).tracking.group == "a # b"


def test_override_inside_a_section_that_the_file_leaves_to_its_default(run_file: Path) -> None:
    helpful = load_config(run_file, ["properties.helpful.reference.quantile=0.9"]).properties["helpful"]
    assert helpful.reference == QuantileReference(quantile=0.9)


def test_override_of_one_key_keeps_the_other_defaults_of_that_place(run_file: Path) -> None:
    optimizer = load_config(run_file, ["align.optimizer.learning_rate=5e-4"]).align.optimizer
    assert (optimizer.learning_rate, optimizer.schedule, optimizer.weight_decay) == (5e-4, "constant", 0.0)


def test_a_partial_section_in_the_file_keeps_the_other_defaults_of_that_place(run_file: Path) -> None:
    run_file.write_text(RUN + "align: {optimizer: {learning_rate: 5e-4}}\n")
    assert load_config(run_file).align.optimizer.schedule == "constant"


def test_override_of_kind_drops_the_keys_of_the_old_kind(run_file: Path) -> None:
    overrides = ["properties.helpful.reference.quantile=0.9", "properties.helpful.reference.kind=mean"]
    assert load_config(run_file, overrides).properties["helpful"].reference.kind == "mean"


def test_override_can_choose_a_kind_and_then_set_its_keys(run_file: Path) -> None:
    config = load_config(
        run_file,
        ["objective.kind=weighted_sum", "objective.weights.helpful=2", "kl.controller={kind: adaptive, target: 3}"],
    )
    assert config.objective == WeightedSumObjective(weights={"helpful": 2.0})
    assert config.kl.controller == AdaptiveController(target=3.0)
    assert load_config(run_file).objective == FormulaObjective()


def test_override_of_one_use_of_an_anchor_leaves_the_other_use_alone(run_file: Path) -> None:
    properties = load_config(run_file, ["properties.helpful.train.max_tokens=32"]).properties
    helpful, harmless = properties["helpful"], properties["harmless"]
    assert isinstance(helpful, ModelProperty)
    assert isinstance(harmless, ModelProperty)
    assert (helpful.train.max_tokens, harmless.train.max_tokens) == (32, 64)


def test_free_mappings_take_any_key(run_file: Path) -> None:
    architecture = load_config(run_file, ["policy.architecture.rope.theta=1e4"]).policy.architecture
    assert architecture == {"model_type": "llama", "hidden_size": 64, "rope": {"theta": 1e4}}


# --- refusals


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("kl.coeficient=1", "override `kl.coeficient=1`: unknown key `kl.coeficient`; did you mean `kl.coefficient`?"),
        ("align.learning_rate=1", "did you mean `align.optimizer.learning_rate`?"),
        ("align.algorithm.discount=1", "it belongs to another `align.algorithm.kind`"),
        ("kl.coefficient=0", "override `kl.coefficient=0`: `kl.coefficient` is 0; allowed: a number > 0"),
        ("kl.coefficient=.inf", "`kl.coefficient` is inf; allowed: a number > 0"),
        ("kl.coefficient=.nan", "`kl.coefficient` is nan; allowed: a number > 0"),
        ("data.splits.test=1.5", "`data.splits.test` is 1.5; allowed: a number > 0 and < 1"),
        ("align.steps=true", "`align.steps` is true; allowed: a whole number >= 1"),
        ("align.steps=2.5", "`align.steps` is 2.5; allowed: a whole number >= 1"),
        ("device=gpu", "`device` is 'gpu'; did you mean 'cpu'? Allowed: 'auto', 'cpu' or 'cuda'"),
        ("align.algorithm.kind=roo", "did you mean 'rloo'? Allowed: 'grpo', 'ppo', 'reinforce' or 'rloo'"),
        ("properties.helpfull.reference.kind=mean", "there is no `properties.helpfull` yet"),
        ("properties.x.kind=classifier", "`properties.x.model` is missing; it must be text"),
        ("align.steps.x=1", "`steps` has no keys below it; allowed: a whole number >= 1"),
        ("sft.training.lora.target_modules=3", "allowed: a list, each text, or 'all-linear'"),
        ("references.splits=[tset]", "`references.splits.0` is 'tset'; did you mean 'test'?"),
        ("sampling.stop=['']", "`sampling.stop.0` is ''; allowed: text (not empty)"),
        ("sampling.temperature=0.7", "temperature is 0.7, but must be 1.0"),
        (
            "references.max_prompts={alignmnt: 5}",
            "`references.max_prompts.alignmnt` is 'alignmnt'; did you mean 'align",
        ),
        (
            "references.max_prompts.validation=-3",
            "`references.max_prompts.validation` is -3; allowed: a whole number >=",
        ),
        ("evaluate.quantiles={helpful: 85}", "`evaluate.quantiles.helpful` is 85; allowed: a number > 0 and < 1"),
        (
            "evaluate.judge_url='http://x/v1'",
            "`evaluate`: a judge needs both judge_url and judge_model, but judge_model",
        ),
        ("evaluate.gold=m:f", "gold needs `bars`"),
        ("evaluate.bars={helpful: 0}", "bars are those of `gold`, which is absent"),
        ("evaluate={gold: 'm:f', bars: {helpfull: 0}}", "evaluate.bars names 'helpfull', which is not a property"),
        ("placement.learner.accelerator='H100,T4'", "accelerator 'H100,T4' cannot be read; write 'H100', '!T4'"),
        ("sft.training.accelerator='H100,T4'", "`sft.training.accelerator`: accelerator 'H100,T4' cannot be read"),
        ("placement.learner.gpus=1.5", "`placement.learner.gpus`: 1.5 GPUs cannot be given"),
        ("sft.training.gpus_per_worker=1.5", "above 1 only whole numbers"),
        ("objective.expression=helpfull & harmless", "objective.expression names 'helpfull', which is not a property"),
        ("objective={kind: weighted_sum, weights: {rude: 1}}", "objective.weights names 'rude'"),
        (
            "objective={kind: z_scored_sum}",
            "properties.helpful.transform is log_sigmoid, but objective.kind z_scored_sum",
        ),
        ("align.algorithm={kind: grpo, scale: std}", "align.algorithm.scale std: "),
        ("name=a b", "`name` is 'a b'; allowed: text matching"),
        ("kl.gamma=1", "gamma, the KL coefficient, is `kl.coefficient`"),
        ("kl.coefficient=[1", "not valid YAML"),
        ("kl.coefficient", "must read key=value"),
        ("=1", "must read key=value"),
    ],
)
def test_a_wrong_override_is_refused_in_one_sentence(run_file: Path, override: str, sentence: str) -> None:
    message = refused(run_file, override)
    assert sentence in message
    assert f"override `{override}`" in message or "helpfull" in override or "properties.x" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (RUN + "gamma: 0.1\n", "`gamma` is refused: gamma, the KL coefficient, is `kl.coefficient`"),
        (RUN + "align: {gamma: 0.1}\n", "`align.gamma` is refused"),
        (
            RUN + "referneces: {}\n",
            "unknown key `referneces`; did you mean `references`? Allowed at the top level: align",
        ),
        (RUN + "name: again\n", 'line 14, column 1: the key "name" stands here a second time; keep one of them'),
        (RUN + "kl: {coefficient: 1\n", "not valid YAML"),
        (RUN + "align: {algorithm: {kind: rloo, clip: 0.1}}\n", "unknown key `align.algorithm.clip`"),
        (RUN.replace("world: {}", ""), "no text: give `world`"),
        (RUN + "data: {demonstrations: {path: mine.jsonl}}\n", "and data.demonstrations would not be read"),
        (RUN.replace("name: tiny", ""), "`name` is missing; it must be text"),
        (
            RUN.replace("    kind: model\n    train: &", "    train: &"),
            "`properties.helpful.kind` is missing; allowed: 'classifier'",
        ),
        ("- a\n", "the top level must be `key: value` lines"),
        ("", "is empty"),
    ],
)
def test_a_wrong_file_is_refused_by_name(run_file: Path, text: str, sentence: str) -> None:
    run_file.write_text(text)
    message = refused(run_file)
    assert sentence in message
    assert str(run_file) in message
    assert "pydantic" not in message


def test_a_model_that_is_trained_here_has_pairs(run_file: Path) -> None:
    pairs = "data.pairs={helpful: {path: h.jsonl}}"
    message = refused(run_file, "world=null", pairs)
    assert "properties.harmless trains a reward model or evaluator, but `data.pairs` has pairs for helpful" in message
    given = "properties.harmless.model=some/reward-model"
    assert load_config(run_file, ["world=null", pairs, given]).base is None
    evaluator = "properties.harmless.evaluator={}"
    assert "properties.harmless trains" in refused(run_file, "world=null", pairs, given, evaluator)
    assert load_config(run_file, ["world=null", pairs, "base=runs/other"]).data.pairs.keys() == {"helpful"}


def test_prompts_are_enough_where_nothing_is_trained(run_file: Path) -> None:
    prompts = ["world=null", "data.prompts.path=prompts.jsonl"]
    message = refused(run_file, *prompts)
    assert "properties.helpful trains a reward model or evaluator, but `data.pairs` is empty; give" in message
    finished = [f"properties.{name}.model=finished" for name in ("helpful", "harmless")]
    assert load_config(run_file, [*prompts, *finished]).data.prompts is not None
    assert "the embedded world brings its own text, and data.prompts" in refused(run_file, prompts[1])


def test_columns_name_fields_that_rows_of_their_kind_have(run_file: Path) -> None:
    prompts = ["world=null", "data.prompts.path=prompts.jsonl"]
    message = refused(run_file, *prompts, "data.prompts.columns={question: instruction}")
    assert (
        "`data.prompts`: `columns` names 'question', which is no field of these rows; left of the colon stands one of"
        in message
    )


def test_the_world_has_pairs_of_its_own_properties_only(run_file: Path) -> None:
    concise = "properties.concise={kind: model}"
    assert "the embedded world has pairs for helpful, harmless only" in refused(run_file, concise)


def test_several_problems_are_listed_together(run_file: Path) -> None:
    message = refused(run_file, "kl.coefficient=0", "align.steps=0")
    assert message.startswith("2 problems:\n")
    assert "`kl.coefficient` is 0" in message
    assert "`align.steps` is 0" in message


def test_a_wrong_key_is_reported_before_torch_is_loaded(run_file: Path) -> None:
    run_file.write_text(RUN + "klx: {}\n")
    program = (
        "import sys; from pathlib import Path; from allgood.errors import ConfigError; "
        "from pipelines.config.loading import load_config\n"
        f"try: load_config(Path({str(run_file)!r}))\n"
        "except ConfigError as error: print('torch' in sys.modules, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False ")
    assert "klx" in done.stdout


def test_a_missing_file_a_folder_and_a_binary_file_are_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.yaml") == f"there is no config file {tmp_path / 'none.yaml'}"
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"\xff\xfe\x00")
    assert "not a text file" in refused(tmp_path / "model.bin")


# --- schema


def test_every_dotted_key_is_described() -> None:
    keys = list(schema.dotted_keys())
    assert {"kl.coefficient", "properties.*.reference.quantile", "align.algorithm.clip"} <= set(keys)


def test_every_shipped_run_file_loads() -> None:
    files = sorted(Path("configs").glob("*.yaml"))
    assert files
    for path in files:
        assert isinstance(load_config(path), RunConfig)


# --- which transform goes with which reference


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("transform: {kind: log_mean_sigmoid}", "reference is quantile; set reference to {kind: draws, num: 16}"),
        ("reference: {kind: draws, num: 4}", "takes one r_ref per prompt, but reference draws gives 4; set num: 1"),
        ("transform: {kind: log_prob}", "takes no reference, but reference is quantile"),
        ("transform: {kind: prompt_z_score}, reference: {kind: draws, num: 1}", "reference draws gives 1; set its num"),
        ("transform: {kind: clip, low: 2, high: 1}", "low must be below high"),
        ("transform: {kind: calibrated, t: 0}, reference: {kind: draws}", "t is 0"),
    ],
)
def test_a_transform_that_cannot_work_with_its_reference_is_refused(run_file: Path, settings: str, words: str) -> None:
    place = "train: &training {max_tokens: 64}"
    run_file.write_text(RUN.replace(place, place + "\n    " + settings.replace("}, ", "}\n    ")))
    message = refused(run_file)
    assert words in message
    assert "properties.helpful" in message


def test_a_single_draw_serves_every_transform_that_takes_a_reference(run_file: Path) -> None:
    overrides = ["properties.helpful.reference={kind: draws, num: 1}"]
    assert load_config(run_file, overrides).properties["helpful"].reference == DrawsReference(num=1)


def test_a_function_has_no_features_to_predict_from(run_file: Path) -> None:
    function = "properties.rule={kind: function, function: 'm:f', reference: {kind: predicted}}"
    assert "a function has none" in refused(run_file, function)


# --- KL and algorithms


def test_k1_as_a_loss_is_refused_because_it_holds_nothing(run_file: Path) -> None:
    assert "k1 as a loss has no expected gradient" in refused(run_file, "kl.placement=loss")
    assert load_config(run_file, ["kl.placement=loss", "kl.estimator=k3"]).kl.estimator == "k3"


def test_every_controller_and_algorithm_has_its_keys(run_file: Path) -> None:
    config = load_config(
        run_file, ["kl.controller={kind: target, target: 2, rate: 0.2}", "align.algorithm={kind: grpo}"]
    )
    assert config.kl.controller == TargetController(target=2.0, rate=0.2)
    assert config.align.algorithm == Grpo()
    assert load_config(run_file, ["align.algorithm={kind: reinforce}"]).align.algorithm.kind == "reinforce"


def test_further_references_belong_to_properties_that_can_have_them(run_file: Path) -> None:
    assert "not a property" in refused(run_file, "references.also={rude: [{kind: mean}]}")
    rule = "properties.rule={kind: function, function: 'm:f'}"
    assert "name an `encoder`" in refused(run_file, rule, "references.also={rule: [{kind: predicted}]}")
    also = load_config(run_file, ["references.also={helpful: [{kind: dataset}, {kind: predicted}]}"]).references.also
    assert [reference.kind for reference in also["helpful"]] == ["dataset", "predicted"]


def test_the_configuration_of_a_run_follows_its_folder(tmp_path: Path) -> None:
    save_config(load_config(Path("configs/quickstart.yaml")), tmp_path / "runs" / "quickstart" / "config.yaml")
    (tmp_path / "runs").rename(tmp_path / "moved")
    moved = load_run(tmp_path / "moved" / "quickstart", ["seed=3"])
    assert (moved.folder, moved.seed) == (tmp_path / "moved" / "quickstart", 3)
    with pytest.raises(ConfigError, match="holds no run"):
        load_run(tmp_path)
