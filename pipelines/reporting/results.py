"""Sections about results: the main table, KL against win rate and good rate, improvement per prompt, shortcuts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from allgood.diagnostics import CURVE_PERCENTILES, Improvement
from pipelines.evaluation.entry import TRAINING_REWARD, Headlines, Interval
from pipelines.evaluation.measurements import UNJUDGED, Measurements
from pipelines.reporting.content import Content, Policy
from pipelines.reporting.html import Markup, Picture, Section, number, paragraph, table, with_interval
from pipelines.reporting.plots import Point, bars, forest, frontier, quantile_curves

Rate = tuple[float | None, Interval | None]


def _both_good(found: Headlines) -> Rate:
    return found.both_good_rate, found.both_good_rate_ci


def _gold_win(found: Headlines) -> Rate:
    return found.gold_win_rate, found.gold_win_rate_ci


RATES: dict[str, Callable[[Headlines], Rate]] = {
    "both good": _both_good,
    "gold win rate": _gold_win,
    "both win rate": lambda found: (found.both_win_rate, found.both_win_rate_ci),
    "evaluator 1 win rate": lambda found: (found.evaluator_1_win_rate, found.evaluator_1_win_rate_ci),
}
SHORTCUTS = {"lists": "lists", "consult": "consult", "refusal": "refusal", "repetition": "repetition"}
MATCHED = 0.25  # KLs that differ by less than this share of the larger one are compared


def main_table(content: Content) -> Section:
    """One row per policy."""
    if content.measurements is not None and not content.measurements.is_judged:
        return Section("Main table", [paragraph(UNJUDGED), _unjudged_table(content.measurements)])
    rows = [_sft_row(content.sft)] if content.sft else []
    rows += [_row(policy) for policy in content.policies]
    columns = [
        "policy",
        "γ",
        "KL [nats]",
        "gold win rate",
        "both good",
        "both good − π0",
        "lists",
        "consult",
        "words",
        "s",
    ]
    chosen = None if content.chosen is None else content.chosen + len(rows) - len(content.policies)
    said = [
        "Gold win rate: probability that gold prefers the policy's response to an independent π0 response to the same "
        "prompt, mean over properties, ties one half. Both good: share of responses over the bar of every property. "
        "Square brackets: 95 % bootstrap intervals over prompts."
    ]
    if chosen is not None:
        said.append("The marked row is the arm chosen on validation prompts.")
    empty = [index for index in range(1, len(columns)) if all(row[index] == "–" for row in rows)]
    kept = [index for index in range(len(columns)) if index not in empty]
    shown = [[row[index] for index in kept] for row in rows]
    return Section("Main table", [*map(paragraph, said), table([columns[i] for i in kept], shown, chosen=chosen)])


def _unjudged_table(found: Measurements) -> Markup:
    """What is left where nobody judges: KL and training rewards. The gains come with the scorers' own sections."""
    kl = with_interval(found.aligned.kl.value, *found.aligned.kl.interval, digits=2)
    rewards = [
        [f"training reward {name}: mean gain", _shown(part.gain.value, part.gain.interval) if part.gain else "–"]
        for name, part in found.reward_models.items()
    ]
    return table(["aligned policy against the start policy", "value"], [["KL [nats per response]", kl], *rewards])


def _sft_row(sft: Headlines) -> list[str]:
    return ["π0", "–", number(0.0, 2), *_gold_cells(sft), "–", *_shortcut_cells(sft), "–"]


def _row(policy: Policy) -> list[str]:
    gamma, found = policy.arm.gamma, policy.arm.headlines
    return [
        policy.name,
        "–" if gamma is None else f"{gamma:.4g}",
        number(found.kl, 2),
        *_gold_cells(found),
        _shown(found.both_good_gain, found.both_good_gain_ci),
        *_shortcut_cells(found),
        number(policy.arm.seconds, 0),
    ]


def _gold_cells(found: Headlines) -> list[str]:
    return [_shown(*_gold_win(found)), _shown(*_both_good(found))]


def _shortcut_cells(found: Headlines) -> list[str]:
    rates = found.shortcut_rates or {}
    return [
        number(rates.get(name), digits) for name, digits in (("lists", 2), ("consult", 2), ("mean_length_words", 1))
    ]


def _shown(value: float | None, interval: Interval | None) -> str:
    low, high = interval or (None, None)
    return with_interval(value, low, high)


def against_kl(content: Content) -> Section:
    """Win rate and both-good rate: over KL for several policies, alongside π0 for one."""
    title = "KL against win rate and both-good rate"
    if content.measurements is not None and not content.measurements.is_judged:
        return Section("Win rates", [paragraph("None is known: nobody judges this run.")])
    if not any(policy.arm.headlines.both_good_rate is not None for policy in content.policies):
        return Section(title, [paragraph("There is no gold for this data, so there are no gold rates to draw.")])
    if len(content.policies) == 1:
        return Section("Win rates and good rates", [_forest(content)])
    sft_good = content.sft.both_good_rate if content.sft else None
    baseline = None if sft_good is None else ("π0", sft_good)
    pictures = [
        _frontier(content, "both_good_rate", "both-good rate", _both_good, baseline),
        _frontier(content, "gold_win_rate", "gold win rate against π0", _gold_win, ("a random π0 sample", 0.5)),
    ]
    return Section(title, pictures)


def _frontier(
    content: Content, name: str, label: str, rate: Callable[[Headlines], Rate], baseline: tuple[str, float] | None
) -> Picture:
    groups: dict[str, list[Point]] = {}
    for policy in content.policies:
        kl, (value, interval) = policy.arm.headlines.kl, rate(policy.arm.headlines)
        if kl is not None and value is not None:
            point = Point(kl, value, *(interval or (value, value)), label=f"γ={policy.arm.gamma:.3g}")
            groups.setdefault(objective_name(policy.arm.objective), []).append(point)
    return Picture(
        f"{name}_by_kl",
        frontier(groups, y_label=label, baseline=baseline),
        alt=f"{label} over KL, one line per objective",
        caption=f"{label[0].upper()}{label[1:]} over KL. Each point is a policy; bars are 95 % intervals over prompts.",
    )


def _forest(content: Content) -> Picture:
    rows: dict[str, dict[str, Point]] = {}
    named = [("aligned", content.policies[0].arm.headlines), *([("π0", content.sft)] if content.sft else [])]
    for label, rate in RATES.items():
        for policy, headlines in named:
            value, interval = rate(headlines)
            if value is not None and interval is not None:
                rows.setdefault(label, {})[policy] = Point(0.0, value, *interval)
    return Picture(
        "rates",
        forest(rows, x_label="share of pairs or responses", reference=0.5),
        alt="win rates and good rates of the aligned policy and of π0",
        caption="Shares with 95 % intervals over prompts. Win rates are against independent samples of π0; π0 meets "
        "its own other samples, so its win rate is one half. Both win rate: as good in every property and better in "
        "one; ties and mixed results are no win.",
    )


def objective_name(objective: str) -> str:
    """`lsc_sum` -> `LSC sum`."""
    return objective.replace("_", " ").replace("lsc", "LSC")


def improvement(content: Content) -> Section:
    """How the gain over π0 is spread over prompts; several policies at matched KL."""
    policies = [policy for policy in content.policies if gains_of(policy)]
    title = f"{'Training reward' if policies and _judge(policies) == TRAINING_REWARD else 'Improvement'} per prompt"
    if not policies:
        return Section(title, [paragraph("No gain per prompt was measured here: `allgood evaluate` does that.")])
    if len(policies) > 1:
        pair = matched_pair(policies)
        if pair is None:
            closest = "No two arms of different objectives have a KL within 25 % of each other; all arms are shown."
            return Section(title, [paragraph(closest), _gains(policies), _gain_table(policies)])
        kls = " and ".join(f"{policy.name} ({policy.arm.headlines.kl:.2f} nats)" for policy in pair)
        return Section(
            title, [paragraph(f"The closest KLs of two objectives: {kls}."), _gains(pair), _gain_table(policies)]
        )
    return Section(title, [_gains(policies), _gain_table(policies)])


def gains_of(policy: Policy) -> Mapping[str, Improvement]:
    """Improvement per property; early comparisons have it in the whole measurement of an arm alone."""
    measured = policy.arm.measurement
    of_gold = measured.gold.improvement if measured and measured.gold else {}
    return policy.arm.headlines.improvement or of_gold


def matched_pair(policies: Sequence[Policy]) -> tuple[Policy, Policy] | None:
    """The two policies of different objectives whose KLs are closest, if they are close."""
    apart = [
        (abs(one - other) / max(one, other, 1e-9), (a, b))
        for a, b in combinations(policies, 2)
        if a.arm.objective != b.arm.objective
        and (one := a.arm.headlines.kl) is not None
        and (other := b.arm.headlines.kl) is not None
    ]
    distance, closest = min(apart, key=lambda pair: pair[0], default=(math.inf, None))
    return closest if distance < MATCHED else None


def _gains(policies: Sequence[Policy]) -> Picture:
    properties, judge = list(gains_of(policies[0])), _judge(policies)
    panels: dict[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]] = {
        name: {policy.name: (CURVE_PERCENTILES, gains_of(policy)[name].gains_at) for policy in policies}
        for name in properties
    }
    return Picture(
        "improvement_per_prompt",
        quantile_curves(panels, y_label=f"{judge} gain over π0"),
        alt=f"gain in {judge} over π0 by percentile of prompts, per property",
        caption=f"Gain of the mean {judge} {'' if judge == TRAINING_REWARD else 'score '}over π0, prompts sorted by "
        "gain. A flat line is the same gain on every prompt; few samples per prompt spread the ends.",
    )


def _gain_table(policies: Sequence[Policy]) -> Markup:
    rows = [
        [
            policy.name,
            name,
            f"{found.mean:+.2f}",
            f"{found.share_improved:.0%}",
            f"{found.share_worse:.0%}",
            f"{found.worst_decile:+.2f}",
            f"{found.best_decile:+.2f}",
        ]
        for policy in policies
        for name, found in gains_of(policy).items()
    ]
    judge = _judge(policies)
    shares = ["higher", "lower", "lowest tenth", "highest tenth"]  # a training reward does not say what is better
    if judge != TRAINING_REWARD:
        shares = ["improved", "worse", "worst tenth", "best tenth"]
    columns = ["policy", "property", "mean gain", *shares]
    return table(columns, rows, caption=f"Gain in {judge} per prompt, in its own units")


def _judge(policies: Sequence[Policy]) -> str:
    """Whose score the gains are in."""
    return policies[0].arm.headlines.improvement_by or "gold"


def shortcuts(content: Content) -> Section:
    """Lists, consult, refusals and repetition of every policy."""
    measured = {"π0": content.sft} if content.sft else {}
    measured |= {policy.name: policy.arm.headlines for policy in content.policies}
    rates = {
        name: {label: found.shortcut_rates[key] for key, label in SHORTCUTS.items() if key in found.shortcut_rates}
        for name, found in measured.items()
        if found.shortcut_rates
    }
    if not rates:
        return Section("Shortcuts", [paragraph("Not measured: `allgood evaluate` does that.")])
    picture = Picture(
        "shortcuts",
        bars(rates, y_label="share of responses (repetition: of trigrams)"),
        alt="shortcut rates per policy",
        caption="Shares of responses that are lists, send the reader to a professional, or refuse; share of repeated "
        "trigrams.",
    )
    return Section("Shortcuts", [picture])
