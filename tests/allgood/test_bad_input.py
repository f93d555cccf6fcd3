"""Every public function of the mathematics refuses bad input, naming the argument, its value and what is allowed.

The table below is complete: a new public function without a row fails the last test.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
import torch

from allgood import (
    advantages,
    aggregation,
    best_of_k,
    calibration,
    diagnostics,
    ensembles,
    guards,
    intervals,
    kl,
    losses,
    named_transforms,
    opponents,
    pareto,
    reference_head,
    references,
    resampling,
    shortcuts,
    tilting,
    transform_facts,
    transforms,
    winrate,
)

MODULES = (
    *("advantages", "aggregation", "best_of_k", "calibration", "diagnostics", "ensembles", "guards", "intervals", "kl"),
    *(
        "losses",
        "named_transforms",
        "opponents",
        "pareto",
        "reference_head",
        "references",
        "resampling",
        "shortcuts",
        "tilting",
        "transform_facts",
        "transforms",
        "winrate",
    ),
)
ANY_TEXT = {"has_list", "has_consult", "is_refusal", "num_words", "repetition"}
CONVERSION = {"as_float64"}  # checks nothing itself; its callers do

P23, P24, P2, P3 = torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2), torch.zeros(3)
NAN23, INF23 = torch.full((2, 3), math.nan), torch.full((2, 3), math.inf)
PREDICTION = reference_head.Prediction(P2, P2 + 1)

Call = Callable[[], object]


def resampled(sums: np.ndarray, num_resamples: int) -> object:
    generator = np.random.default_rng(0)
    return resampling.resampled_means(sums, np.ones_like(sums), generator=generator, num_resamples=num_resamples)


CASES: list[tuple[Callable[..., object], Call, str]] = [
    # advantages
    (advantages.rloo, lambda: advantages.rloo(NAN23), "returns must be finite, but 6 of 6"),
    (advantages.rloo, lambda: advantages.rloo(P23[:, :1]), "at least 2 samples per prompt, got 1"),
    (advantages.group_mean, lambda: advantages.group_mean(P2, torch.tensor([1, 2])), "group 1 has 1"),
    (advantages.group_mean, lambda: advantages.group_mean(torch.zeros(0, 3)), r"returns must be .* got shape \(0, 3\)"),
    (advantages.gae, lambda: advantages.gae(P23, P24), r"rewards and values .* \(2, 3\) and \(2, 4\)"),
    (advantages.gae, lambda: advantages.gae(P23, P23, discount=1.5), r"discount must lie in \[0, 1\], got 1\.5"),
    # aggregation
    (aggregation.raw_sum, lambda: aggregation.raw_sum({}), "rewards must hold at least one property, got none"),
    (aggregation.raw_sum, lambda: aggregation.raw_sum({"a": P23, "b": P24}), r"rewards\['b'\] and rewards\['a'\] must"),
    (
        aggregation.raw_sum,
        lambda: aggregation.raw_sum({"a": P23[:, :0]}),
        r"rewards\['a'\] must hold at least one sample",
    ),
    (aggregation.weighted_sum, lambda: aggregation.weighted_sum({"a": P23}, {"b": 1}), "weights .* exactly a, got b"),
    (
        aggregation.weighted_sum,
        lambda: aggregation.weighted_sum({"a": P23}, {"a": math.nan}),
        r"weights\['a'\] must be",
    ),
    (aggregation.minimum, lambda: aggregation.minimum({"a": NAN23}), r"utilities\['a'\] must be finite"),
    (aggregation.soft_minimum, lambda: aggregation.soft_minimum({"a": P2}, temperature=0), "temperature .* got 0"),
    (
        aggregation.logit_of_product,
        lambda: aggregation.logit_of_product({"a": INF23}),
        r"margins\['a'\] must be finite",
    ),
    (aggregation.lagrangian, lambda: aggregation.lagrangian({"a": P2}, "b", {}, {}), "objective must be one of a, got"),
    (
        aggregation.lagrangian,
        lambda: aggregation.lagrangian({"a": P2, "b": P2}, "a", {"b": -1}, {"b": 0}),
        r"multipliers\['b'\] must be finite and at least 0, got -1",
    ),
    (
        aggregation.update_multipliers,
        lambda: aggregation.update_multipliers({"a": 1}, {}, {"a": 0}),
        "rewards lack a, which have a multiplier",
    ),
    (aggregation.normalise_then_sum, lambda: aggregation.normalise_then_sum({"a": P23[:, :1]}), "at least 2 samples"),
    # best_of_k
    (best_of_k.best_of_k, lambda: best_of_k.best_of_k(P23, P24), "scores and values must have the same shape"),
    (best_of_k.best_of_k, lambda: best_of_k.best_of_k(P23[:, :0], P23[:, :0]), r"scores must be .* got shape \(2, 0\)"),
    (best_of_k.best_of_k_by_prompt, lambda: best_of_k.best_of_k_by_prompt(P23, NAN23), "values must be finite"),
    (best_of_k.kl_bound, lambda: best_of_k.kl_bound(0), "k must be at least 1, got 0"),
    (best_of_k.kl_estimate, lambda: best_of_k.kl_estimate(P23, 4), r"k must lie in 1\.\.3, .* got 4"),
    (best_of_k.selection_weights, lambda: best_of_k.selection_weights(P23, [4]), r"k must lie in 1\.\.3, .* got 4"),
    # calibration
    (calibration.reliability_curve, lambda: calibration.reliability_curve([1.0], num_bins=0), "num_bins .* got 0"),
    (
        calibration.expected_calibration_error,
        lambda: calibration.expected_calibration_error(P23),
        r"got shape \(2, 3\)",
    ),
    (calibration.fit_temperature, lambda: calibration.fit_temperature([math.inf]), "margins must be finite"),
    (
        calibration.why_at_bound,
        lambda: calibration.why_at_bound(math.nan),
        "temperature must be a finite number above 0",
    ),
    # diagnostics
    (diagnostics.saturation, lambda: diagnostics.saturation(P2), r"p_good must be \[prompts, samples\], got shape"),
    (
        diagnostics.within_prompt_correlation,
        lambda: diagnostics.within_prompt_correlation(P23, P24),
        r"first and second must have the same shape, got \(2, 3\) and \(2, 4\)",
    ),
    (
        diagnostics.agreement_by_prompt,
        lambda: diagnostics.agreement_by_prompt(P23, P24),
        r"first and second must have the same shape, got \(2, 3\) and \(2, 4\)",
    ),
    (diagnostics.improvement, lambda: diagnostics.improvement(P23, P23[:1]), "the same prompts, got 2 and 1"),
    # ensembles
    (ensembles.ensemble_mean, lambda: ensembles.ensemble_mean(torch.zeros(0, 2)), r"members .* got shape \(0, 2\)"),
    (ensembles.ensemble_mean, lambda: ensembles.ensemble_mean(torch.zeros(2, 3, 0)), "members must hold at least one"),
    (ensembles.ensemble_median, lambda: ensembles.ensemble_median(NAN23), "members must be finite"),
    (ensembles.ensemble_min, lambda: ensembles.ensemble_min(INF23), "members must be finite"),
    (ensembles.ensemble_lower_bound, lambda: ensembles.ensemble_lower_bound(P23, penalty=-1), "penalty .* got -1"),
    # guards
    (guards.refuse_group_std, lambda: guards.refuse_group_std("std", [], kl_in_reward=True), "scale must be .*'std'"),
    (
        guards.refuse_squashed_rewards,
        lambda: guards.refuse_squashed_rewards(torch.rand(40), transform="log_sigmoid"),
        r"rewards all lie in \[0, 1\] \(40 of them",
    ),
    (guards.refuse_default_rewards, lambda: guards.refuse_default_rewards(P23), "exactly 0 for 6 of 6"),
    (
        guards.kept_rows,
        lambda: guards.kept_rows(np.zeros(3), np.zeros(2, dtype=int)),
        r"utilities and groups must both be \[rows\], got shapes \(3,\) and \(2,\)",
    ),
    # intervals
    (intervals.cluster_bootstrap, lambda: intervals.cluster_bootstrap([], seed=0), "values must be non-empty"),
    (intervals.t_interval, lambda: intervals.t_interval([1.0]), r"at least 2, got shape \(1,\)"),
    (intervals.smallest_detectable, lambda: intervals.smallest_detectable(1, 5, power=1), "power .* got 1"),
    (intervals.prompt_means, lambda: intervals.prompt_means("gold", NAN23), "gold must be finite"),
    # kl
    (kl.k1, lambda: kl.k1(P2, P3), r"logprob and ref_logprob .* \(2,\) and \(3,\)"),
    (kl.k2, lambda: kl.k2(P2, P3), "logprob and ref_logprob"),
    (kl.k3, lambda: kl.k3(P2, P3), "logprob and ref_logprob"),
    (kl.full, lambda: kl.full(P23, P24), "logprobs and ref_logprobs"),
    (kl.choice, lambda: kl.choice("k4", "reward"), "no KL choice 'k4' as 'reward': estimators are"),
    # losses
    (losses.reinforce, lambda: losses.reinforce(P23, P3), r"advantages must have shape \(2,\) or \(2, 3\), got \(3,\)"),
    (losses.ppo_clip, lambda: losses.ppo_clip(P23, P23, P2, clip=1), r"clip must lie in \(0, 1\), got 1"),
    (losses.clip_fraction, lambda: losses.clip_fraction(P23, P24, P2), "logprobs and old_logprobs"),
    (losses.value_clip, lambda: losses.value_clip(P23, P23, P23, clip=0), "clip must be .* above 0, got 0"),
    (losses.truncated_importance, lambda: losses.truncated_importance(P2, P2, maximum=0.5), r"maximum .* got 0\.5"),
    # transform_facts, named_transforms
    (transform_facts.facts_of, lambda: transform_facts.facts_of("tan"), "unknown transform 'tan': did you mean 'tanh'"),
    (named_transforms.named, lambda: named_transforms.named("sigmod"), "unknown transform 'sigmod': did you mean"),
    # reference_head
    (
        reference_head.gaussian_nll,
        lambda: reference_head.gaussian_nll(PREDICTION, P3[None]),
        r"for 2 prompts .* \(1, 3\)",
    ),
    (reference_head.normal_quantile, lambda: reference_head.normal_quantile(0.0, 1.0, 1), "quantile must lie .* got 1"),
    (reference_head.fit, lambda: reference_head.fit(NAN23, P23, seed=0), "features must be finite"),
    (reference_head.fit, lambda: reference_head.fit(P23, P23, seed=0, num_steps=0), "num_steps must be .* got 0"),
    (
        reference_head.fit,
        lambda: reference_head.fit(P23, P23, seed=0, weight_decay=-1),
        "weight_decay must be .* got -1",
    ),
    (reference_head.coverage, lambda: reference_head.coverage(PREDICTION, P23, [1.0]), r"quantile .* got 1\.0"),
    # opponents
    (opponents.win_shares, lambda: opponents.win_shares(P23[:, :1]), "at least 2"),
    (opponents.both_win_shares, lambda: opponents.both_win_shares({}), "at least one property, got none"),
    (opponents.both_win_shares, lambda: opponents.both_win_shares({"a": NAN23}), r"scores\['a'\] must be finite"),
    (opponents.weighted_win_rate, lambda: opponents.weighted_win_rate(P23, P24), r"got shapes \(2, 3\) and \(2, 4\)"),
    (
        opponents.best_of_k_win_rate,
        lambda: opponents.best_of_k_win_rate(P24, [1], torch.zeros(2, 3, 3)),
        r"scores must be .* got shapes \(2, 4\) and \(2, 3, 3\)",
    ),
    # pareto
    (pareto.pareto_front, lambda: pareto.pareto_front([1.0], [1.0, 2.0]), r"gains and costs .* \(1,\) and \(2,\)"),
    (
        pareto.hypervolume,
        lambda: pareto.hypervolume([math.nan], [1.0], worst_gain=0, worst_cost=1),
        "gains and costs must be finite",
    ),
    # references
    (references.mean, lambda: references.mean(NAN23), "draws must be finite"),
    (references.median, lambda: references.median(P23[:, :1]), "at least 2 per prompt, got 1"),
    (
        references.gaussian_quantile,
        lambda: references.gaussian_quantile(P23, 1),
        r"quantile must lie in \(0, 1\), got 1",
    ),
    (references.gaussian_quantile, lambda: references.gaussian_quantile(P23, math.nan), r"quantile .* got nan"),
    (references.empirical_quantile, lambda: references.empirical_quantile(P23, 0), "quantile must lie .* got 0"),
    (
        references.of_scored,
        lambda: references.of_scored(references.mean, np.zeros(3)),
        r"rewards must be \[prompts, samples\], got shape \(3,\)",
    ),
    (references.normality, lambda: references.normality(P23), "at least 20 per prompt, got 3"),
    # resampling
    (resampling.resampled_means, lambda: resampled(np.zeros((0, 2)), 1), r"sums and counts must .* \(0, 2\)"),
    (resampling.resampled_means, lambda: resampled(np.zeros((3, 2)), 0), "num_resamples must be at least 1, got 0"),
    # shortcuts
    (shortcuts.shortcut_rates, lambda: shortcuts.shortcut_rates([[]]), "at least one response per prompt, got none"),
    # tilting
    (tilting.tilt, lambda: tilting.tilt(P23, 0), "gamma must be a finite number above 0, got 0"),
    (tilting.tilt, lambda: tilting.tilt(P23, math.nan), "gamma must be a finite number above 0, got nan"),
    (tilting.tilt, lambda: tilting.tilt(P2, 1.0), r"utilities must be .* got shape \(2,\)"),
    (tilting.shows_its_kl, lambda: tilting.shows_its_kl(P2, P23), "half_sample_kl"),
    (tilting.solve_gamma, lambda: tilting.solve_gamma(P23, -1), "target_kl must be .* got -1"),
    (tilting.solve_gamma, lambda: tilting.solve_gamma(torch.randn(2, 3), 2), r"target_kl must be below 1\.0986"),
    # transforms
    *(
        (function, call, message)
        for function in (
            *(transforms.identity, transforms.log_sigmoid, transforms.sigmoid, transforms.tanh, transforms.clip),
            *(transforms.capped, transforms.power, transforms.margin),
        )
        for call, message in [
            (lambda function=function: function(NAN23, 0.0), "reward must be finite, but 6 of 6"),
            (lambda function=function: function(P23, math.inf), "reference must be finite, got inf"),
            (lambda function=function: function(P23, P3), r"reference of shape \(3,\) does not fit reward of shape"),
        ]
    ),
    *(
        (function, call, message)
        for function in (
            *(transforms.log_mean_sigmoid, transforms.mean_sigmoid, transforms.calibrated),
            *(transforms.log_calibrated, transforms.exp_calibrated, transforms.prompt_z_score),
        )
        for call, message in [
            (lambda function=function: function(P23, INF23), "draws must be finite"),
            (lambda function=function: function(P23, P23[:, :0]), "with at least one draw each"),
        ]
    ),
    (transforms.tanh, lambda: transforms.tanh(P2, 0.0, scale=0), "scale must be .* got 0"),
    (transforms.clip, lambda: transforms.clip(P2, 0.0, low=1, high=1), "low=1 and high=1"),
    (transforms.power, lambda: transforms.power(P2, 0.0, risk_aversion=2), r"risk_aversion .* \[0, 1\], got 2"),
    (transforms.exp_calibrated, lambda: transforms.exp_calibrated(P2, P23, t=0), "t must not be 0 .* got 0"),
    (transforms.log_prob, lambda: transforms.log_prob(P2 + 0.5), r"at most 0, but the largest is 0\.5"),
    (transforms.z_score, lambda: transforms.z_score(P2, 0.0, 0.0), r"std must be .* above 0, got 0\.0"),
    # winrate
    (winrate.win_rate_by_prompt, lambda: winrate.win_rate_by_prompt(P23, P23[:1]), "same prompts, got 2 and 1"),
    (winrate.both_win_rate_by_prompt, lambda: winrate.both_win_rate_by_prompt({}, {}), "must hold the same properties"),
]


@pytest.mark.parametrize(("function", "call", "message"), CASES, ids=[f.__name__ for f, _, _ in CASES])
def test_bad_input_is_refused(function, call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_public_function_has_a_row():
    public = {
        name
        for module in MODULES
        for name, value in vars(import_module(f"allgood.{module}")).items()
        if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == f"allgood.{module}"
    }
    assert public - ANY_TEXT - CONVERSION == {function.__name__ for function, _, _ in CASES}
