"""`rewards.yaml` is read to values, written back, and every mistake in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood import objectives
from allgood.errors import ConfigError
from allgood.scorers.combination import LowerBound
from allgood.scorers.rewards_file import parse_rewards, read_rewards, rewards_yaml
from allgood.scorers.rewards_spec import (
    PredictorSpec,
    PropertySpec,
    ReferenceSpec,
    RewardsSpec,
    SamplesSpec,
    StartPolicySpec,
)
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, FunctionSpec, HttpSpec, ModelSpec, Server
from allgood.scorers.yaml12 import parse

PROPERTIES = {
    "helpful": PropertySpec(
        ModelSpec("owner/helpful@v1", max_tokens=256),
        ReferenceSpec(
            table="references/helpful.safetensors",
            predictor=PredictorSpec("predictors/helpful.safetensors", 0.85, "owner/encoder"),
            fallback=0.0,
        ),
        temperature=2.0,
    ),
    "harmless": PropertySpec(ClassifierSpec("owner/judge", 2), ReferenceSpec(constant=0.0), "log_prob"),
    "brief": PropertySpec(FunctionSpec("math:fsum"), ReferenceSpec(constant=1.5), "tanh", {"scale": 3.0}),
    "sure": PropertySpec(
        EnsembleSpec(("a/one", "a/two"), LowerBound(0.5)),
        ReferenceSpec(replies=("No.", "Yes.")),
        "z_score",
        moments=(0.5, 2.0),
    ),
    "kind": PropertySpec(
        FunctionSpec("math:fsum"),
        ReferenceSpec(
            table="references/kind.safetensors", samples=SamplesSpec("gaussian_quantile", 0.85), fallback=-1.0
        ),
    ),
    "plain": PropertySpec(
        FunctionSpec("math:fsum"), ReferenceSpec(samples=SamplesSpec("draws", num=4)), "mean_sigmoid"
    ),
    "served": PropertySpec(
        HttpSpec("judge", Server("http://host/classify", "TOKEN", 5.0, 16, 2), "vllm_classify", revision="v2"),
        ReferenceSpec(constant=0.0),
    ),
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rewards.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "objective",
    [
        objectives.WeightedSum(dict.fromkeys(PROPERTIES, 1.0) | {"harmless": 0.0, "brief": 2.0}),
        objectives.Minimum(tuple(PROPERTIES), "margin"),
        objectives.SoftMinimum(tuple(PROPERTIES), temperature=0.5),
        objectives.Lagrangian("helpful", {"brief": -1.0}, {"brief": 0.25}),
    ],
)
@pytest.mark.parametrize("stop", [None, (), ("\n\nHuman:", "END")])
def test_what_is_written_is_read_back(objective: objectives.Objective, stop: tuple[str, ...] | None) -> None:
    policy = StartPolicySpec("owner/policy@v1", 8, 2**40, 32, 64, stop, "cpu", "float32")
    spec = RewardsSpec(PROPERTIES, objective, 0.5, "owner/policy", 0.75, policy)
    read = parse_rewards(parse(rewards_yaml(spec), source="x"), Path("rewards.yaml"))
    assert read.start_policy == policy
    here = str(Path("references/helpful.safetensors").absolute())
    assert read.properties["helpful"].reference.table == here  # paths are those of the file's folder
    assert rewards_yaml(read).replace(str(Path.cwd()) + "/", "") == rewards_yaml(spec)


def test_folders_lie_alongside_the_file(tmp_path: Path) -> None:
    (tmp_path / "models" / "helpful").mkdir(parents=True)
    path = written(tmp_path, "properties:\n  helpful: {model: models/helpful, reference: {kind: constant, value: 1}}\n")
    spec = read_rewards(path)
    assert spec.properties["helpful"].scorer == ModelSpec(str(tmp_path / "models" / "helpful"))
    assert rewards_yaml(read_rewards(tmp_path)) == rewards_yaml(spec)  # the folder stands for the file
    assert spec.objective.names == ("helpful",)
    assert spec.properties["helpful"].transform == "log_sigmoid"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("properties: {}", "`properties` is missing: name at least one"),
        ("properties: {a: {model: m}}", "`kind` is missing"),
        ("properties: {a: {reference: {kind: none}}}", "the key `model` is missing"),
        ("properties: {a: {model: m, reference: {kind: none}, max_token: 4}}", "no key `max_token`; did you mean"),
        ("properties: {a: {model: m, max_tokens: true, reference: {kind: none}}}", "a whole number of at least 8"),
        ("properties: {a: {model: m, reference: {kind: quantile}}}", "must be one of none, constant, table, canned"),
        ("properties: {a: {model: m, reference: {kind: samples, estimator: mean}}}", "`start_policy` must say"),
        ("properties: {a: {model: m, reference: {kind: samples}}}", "the key `estimator` is missing"),
        ("properties: {a: {model: m, reference: {kind: samples, estimator: median, num: 2}}}", "`num` belongs to"),
        (
            "properties: {a: {model: m, reference: {kind: samples, estimator: draws, num: 9}}}\n"
            "start_policy: {model: p, num_samples: 8}",
            "takes 9 draws, but start_policy.num_samples is 8",
        ),
        (
            "properties: {a: {model: m, reference: {kind: none}}}\nstart_policy: {model: p}",
            "no property has a reference",
        ),
        (
            "properties: {a: {model: m, transform: {kind: mean_sigmoid}, "
            "reference: {kind: samples, estimator: mean}}}\n"
            "start_policy: {model: p}",
            "fresh samples with the estimator draws",
        ),
        ("properties: {a: {model: m, reference: {kind: constant, value: high}}}", "must be a finite number"),
        ("properties: {a: {model: m, transform: {kind: log_sigmod}, reference: {kind: none}}}", "did you mean"),
        ("properties: {a: {model: m, transform: {kind: z_score}, reference: {kind: none}}}", "needs `moments`"),
        (
            "properties: {a: {model: m, transform: {kind: mean_sigmoid}, "
            "reference: {kind: table, file: f, fallback: 1}}}",
            "a fallback is one number",
        ),
        ("properties: {a: {model: m, reference: {kind: none}}}\nobjective: {expression: a & b}", "names 'b'"),
        ("properties: {a: {model: m, reference: {kind: none}}}\nmin_share_in_table: 2", "a number from 0 to 1"),
        ("properties: {a: {model: m, reference: {kind: none}}}\nobjetive: {}", "no key `objetive`; did you mean"),
        ("properties: [a]", "must be a section"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_rewards(path)
    assert problem in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_run_folder_without_exported_rewards_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write it with `allgood export-rewards"):
        read_rewards(tmp_path)
    with pytest.raises(ConfigError, match="there is no file"):
        read_rewards(tmp_path / "absent.yaml")
