"""Runs that would silently optimise something else are refused before anything starts, with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.messages import Chunk, Experience, LogProbs, Rollout, Scores
from allgood.errors import ConfigError, RoleError, TrainingError
from allgood.views import PropertyView
from pipelines.alignment.align import run_align
from pipelines.config.contradictions import refuse_destructive
from pipelines.config.properties import FunctionProperty, HttpProperty, ModelProperty
from pipelines.config.run import RunConfig
from pipelines.objective.guards import (
    kl_notice,
    refuse_failing_scorers,
    refuse_other_sampler,
    refuse_too_many_failures,
    refuse_unfit_rewards,
    tilt_notice,
)
from tests.pipelines.tiny_run import tiny_config


def run(folder: Path, *, transform: str = "identity", **changes: Any) -> RunConfig:
    config = tiny_config(folder)
    values = config.model_dump()
    for setting in values["properties"].values():
        setting["transform"] = {"kind": transform}
    for section, keys in changes.items():
        values[section] = values[section] | keys if section in ("align", "kl") else keys
    return RunConfig.model_validate(values)


GDPO = {"kind": "normalise_then_sum"}
STD = {"algorithm": {"kind": "grpo", "scale": "std"}}


def test_dividing_log_sigmoids_by_the_groups_std_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"align\.algorithm\.scale std: .*erases what the transform log_sigmoid"):
        run_align(run(tmp_path, transform="log_sigmoid", align=STD))


def test_dividing_while_the_kl_stands_outside_is_refused(tmp_path: Path) -> None:
    loss = {"estimator": "k3", "placement": "loss"}
    with pytest.raises(ConfigError, match="gamma silently changes"):
        refuse_destructive(run(tmp_path, align=STD, kl=loss, objective={"kind": "weighted_sum"}))
    with pytest.raises(ConfigError, match=r"normalise_then_sum.*gamma silently changes"):
        refuse_destructive(run(tmp_path, kl=loss, objective=GDPO))


def test_a_users_own_transform_is_divided_only_when_declared_no_log_probability(tmp_path: Path) -> None:
    def divided(**declared: bool) -> RunConfig:
        own = {"kind": "custom", "function": "m:f"} | declared
        config = run(tmp_path, align=STD, objective={"kind": "weighted_sum"})
        short = config.properties["short"].model_dump() | {"transform": own}
        return RunConfig.model_validate(
            config.model_dump() | {"properties": config.model_dump()["properties"] | {"short": short}}
        )

    refuse_destructive(divided(is_log_prob=False))
    with pytest.raises(ConfigError, match=r"set properties\.short\.transform\.is_log_prob to true or false"):
        refuse_destructive(divided())
    with pytest.raises(ConfigError, match="erases what the transform m:f expresses"):
        refuse_destructive(divided(is_log_prob=True))


def test_normalise_then_sum_takes_raw_rewards_and_one_number_per_response(tmp_path: Path) -> None:
    refuse_destructive(run(tmp_path, objective=GDPO))
    refuse_destructive(run(tmp_path, align=STD, objective={"kind": "weighted_sum"}))
    with pytest.raises(ConfigError, match="erases what the transform log_sigmoid"):
        refuse_destructive(run(tmp_path, transform="log_sigmoid", objective=GDPO))
    for changes, words in (
        ({"align": {"algorithm": {"kind": "ppo"}}}, "spreads the KL over tokens"),
        ({"kl": {"estimator": "k3"}}, r"kl\.estimator k3 is not the k1"),
        ({"missing_eos_penalty": 1.0}, "outside the normalisation"),
    ):
        with pytest.raises(ConfigError, match=words):
            refuse_destructive(run(tmp_path, objective=GDPO, **changes))


def test_rewards_that_do_not_fit_their_transform_are_refused_by_property() -> None:
    def setting(transform: str, **changes: Any) -> FunctionProperty:
        return FunctionProperty.model_validate(
            {"kind": "function", "function": "m:f", "transform": {"kind": transform}} | changes
        )

    shares = np.linspace(0, 1, 64, dtype=np.float32) * (np.arange(64) % 4 > 0)
    for transform in ("identity", "z_score"):
        refuse_unfit_rewards({"share": setting(transform)}, {"share": shares})
    with pytest.raises(RoleError, match=r"property share: rewards all lie in \[0, 1\].*'log_sigmoid' expects logits"):
        refuse_unfit_rewards({"share": setting("log_sigmoid")}, {"share": shares})
    with pytest.raises(RoleError, match=r"property p: .*must be log-probabilities"):
        refuse_unfit_rewards({"p": setting("log_prob")}, {"p": shares})
    with pytest.raises(RoleError, match=r"property f: rewards are exactly 0 for 16 of 64 .*zero_is_a_score"):
        refuse_unfit_rewards({"f": setting("log_sigmoid")}, {"f": -9 * shares})
    refuse_unfit_rewards({"f": setting("log_sigmoid", zero_is_a_score=True)}, {"f": -9 * shares})
    served = HttpProperty.model_validate(
        {"kind": "http", "model": "judge", "dialect": "vllm_classify", "server": {"url": "http://host"}}
    )
    with pytest.raises(RoleError, match=r"property s: rewards all lie in \[0, 1\]"):
        refuse_unfit_rewards({"s": served}, {"s": shares})
    refuse_unfit_rewards({"m": ModelProperty(model="some/model")}, {"m": shares})  # its logits are known to be such


def test_a_kl_whose_gradient_is_not_exact_says_so(tmp_path: Path) -> None:
    assert kl_notice(run(tmp_path)) is None
    notice = kl_notice(run(tmp_path, kl={"estimator": "k3", "placement": "loss"}))
    assert notice is not None
    assert "forward KL" in notice
    assert "k1 in the reward is exact" in notice


def test_a_kl_loss_that_is_exact_on_policy_says_so_where_ppo_leaves_the_policy(tmp_path: Path) -> None:
    sequence = {"estimator": "k2_sequence", "placement": "loss"}
    assert kl_notice(run(tmp_path, kl=sequence)) is None
    assert kl_notice(run(tmp_path, kl=sequence, align={"algorithm": {"kind": "ppo", "epochs": 1}})) is None
    notice = kl_notice(run(tmp_path, kl=sequence, align={"algorithm": {"kind": "ppo", "epochs": 3}}))
    assert notice is not None
    assert "first of align.algorithm.epochs = 3 only" in notice


LAGRANGIAN = {"kind": "lagrangian", "maximise": "short", "thresholds": {"vowels": 0.5}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kl": {"estimator": "k3", "placement": "loss"}, "objective": {"kind": "weighted_sum"}}, "forward KL"),
        ({"kl": {"controller": {"kind": "target", "target": 4.0}}}, "target moves kl.coefficient"),
        ({"kl": {"controller": {"kind": "adaptive", "target": 4.0}}}, "adaptive moves kl.coefficient"),
        ({"objective": LAGRANGIAN}, "learns its multipliers"),
    ],
)
def test_a_run_that_does_not_aim_at_the_tilt_says_why(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    notice = tilt_notice(run(tmp_path, **({"objective": {"kind": "weighted_sum"}} | changes)))
    assert notice is not None
    assert reason in notice


def test_a_run_with_k1_in_the_reward_and_a_fixed_coefficient_aims_at_the_tilt(tmp_path: Path) -> None:
    assert tilt_notice(run(tmp_path, objective={"kind": "weighted_sum"})) is None


def scores(utilities: list[float]) -> Scores:
    return Scores("p", PropertyView(*(np.float32(utilities) for _ in range(4))), 0, 0.0)


def test_more_failures_than_allowed_end_the_run_and_name_the_property() -> None:
    found = {"a": scores([0.0] * 10), "b": scores([np.nan] + [0.0] * 9)}
    refuse_too_many_failures(found, max_nan_share=0.10, step=3)  # exactly 10 % is allowed
    found["b"] = scores([np.nan, np.nan] + [0.0] * 8)
    with pytest.raises(TrainingError, match=r"step 3: 20% of the scores of property b are NaN"):
        refuse_too_many_failures(found, max_nan_share=0.10, step=3)


def test_the_usual_reason_is_named_where_one_is_known() -> None:
    reasons = {0: "no answer in 3 s", 1: "too long", 2: "no answer in 3 s"}
    found = {"a": replace(scores([np.nan] * 3), reasons=reasons)}
    with pytest.raises(TrainingError, match=r"100% of the scores of property a are NaN, .* = 10%; no answer in 3 s"):
        refuse_too_many_failures(found, max_nan_share=0.10, step=3)


def test_where_nothing_is_learned_only_failures_of_the_scorer_itself_count() -> None:
    found = {"a": scores([np.nan] * 10)}  # a function may give NaN for what it cannot judge
    refuse_failing_scorers(found, max_share=0.10)
    found["a"] = replace(found["a"], num_given_up=1, reasons={4: "ZeroDivisionError"})
    refuse_failing_scorers(found, max_share=0.10)  # exactly 10 %
    with pytest.raises(RoleError, match=r"property a: its scorer failed on 20% .* = 10%; ZeroDivisionError"):
        refuse_failing_scorers({"a": replace(found["a"], num_given_up=2)}, max_share=0.10)


def experience(sampled: list[float], reference: list[float]) -> list[Experience]:
    tokens, row = (np.int32([7] * len(sampled)),), np.float32(sampled)
    chunk = Chunk(0, 0, 1, 0, ("tea",), ("... Assistant:",), samples_per_prompt=1)
    rollout = Rollout(chunk, tokens, tokens, (row,), (row,), ("Yes",), ("eos",), 0, 0.0)
    return [Experience(rollout, {}, LogProbs((np.float32(reference),), 0.0))]


def test_in_float32_every_token_of_the_first_step_has_the_log_prob_of_the_reference_policy() -> None:
    refuse_other_sampler(experience([-1.0, -2.0], [-1.0005, -2.0]), in_float32=True)
    with pytest.raises(RoleError, match=r"mean log-prob of -1\.5, but -1\.501.*0\.0020? nats, 0\.001 is allowed"):
        refuse_other_sampler(experience([-1.0, -2.0], [-1.002, -2.0]), in_float32=True)
    with pytest.raises(RoleError, match="nan"):
        refuse_other_sampler(experience([-1.0, -2.0], [np.nan, -2.0]), in_float32=True)


def test_otherwise_log_probs_of_the_first_step_agree_on_the_mean() -> None:
    # |differences| are 0.15 and 0.03: 0.09 on the mean, though one token is further off
    refuse_other_sampler(experience([-1.0, -2.0], [-1.15, -1.97]), in_float32=False)
    with pytest.raises(RoleError, match=r"not the policy.*mean difference of a token is 0\.4 nats, 0\.1 is"):
        refuse_other_sampler(experience([-1.0, -2.0], [-1.5, -1.7]), in_float32=False)
