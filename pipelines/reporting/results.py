"""Sections about results: the main table, KL against win rate and good rate, improvement per prompt, shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from allgood.diagnostics import CURVE_PERCENTILES
from pipelines.reporting.content import Content, Entry, Policy
from pipelines.reporting.html import Markup, Picture, Section, number, paragraph, table, with_interval
from pipelines.reporting.plots import Point, bars, forest, frontier, quantile_curves

RATES = {
    "both_good_rate": "both good",
    "gold_win_rate": "gold win rate",
    "both_win_rate": "both win rate",
    "evaluator_1_win_rate": "evaluator 1 win rate",
}
SHORTCUTS = {"lists": "lists", "consult": "consult", "refusal": "refusal", "repetition": "repetition"}
MATCHED = 0.25  # KLs that differ by less than this share of the larger one are compared


def main_table(content: Content) -> Section:
    """One row per policy."""
    rows = [_row("SFT", content.sft, is_sft=True)] if content.sft else []
    rows += [_row(policy.name, policy.entry) for policy in content.policies]
    columns = [
        "policy",
        "γ",
        "KL [nats]",
        "gold win rate",
        "both good",
        "both good − SFT",
        "lists",
        "consult",
        "words",
        "s",
    ]
    chosen = None if content.chosen is None else content.chosen + len(rows) - len(content.policies)
    said = [
        "Gold win rate: probability that gold prefers the policy's response to an independent SFT response to the same "
        "prompt, mean over properties, ties one half. Both good: share of responses over the bar of every property. "
        "Square brackets: 95 % bootstrap intervals over prompts."
    ]
    if chosen is not None:
        said.append("The marked row is the arm chosen on validation prompts.")
    empty = [index for index in range(1, len(columns)) if all(row[index] == "–" for row in rows)]
    kept = [index for index in range(len(columns)) if index not in empty]
    shown = [[row[index] for index in kept] for row in rows]
    return Section("Main table", [*map(paragraph, said), table([columns[i] for i in kept], shown, chosen=chosen)])


def _row(name: str, entry: Entry, *, is_sft: bool = False) -> list[str]:
    shortcuts = entry.get("shortcut_rates", {})
    gamma = entry.get("gamma")
    return [
        name,
        "–" if gamma is None else f"{gamma:.4g}",
        number(0.0 if is_sft else entry.get("kl"), 2),
        _rate(entry, "gold_win_rate"),
        _rate(entry, "both_good_rate"),
        "–" if is_sft else _rate(entry, "both_good_gain"),
        number(shortcuts.get("lists"), 2),
        number(shortcuts.get("consult"), 2),
        number(shortcuts.get("mean_length_words"), 1),
        number(entry.get("seconds"), 0),
    ]


def _rate(entry: Entry, name: str) -> str:
    low, high = entry.get(f"{name}_ci") or (None, None)
    return with_interval(entry.get(name), low, high)


def against_kl(content: Content) -> Section:
    """Win rate and both-good rate: over KL for several policies, alongside SFT for one."""
    title = "KL against win rate and both-good rate"
    if not any("both_good_rate" in policy.entry for policy in content.policies):
        return Section(title, [paragraph("There is no gold for this data, so there are no gold rates to draw.")])
    if len(content.policies) == 1:
        return Section("Win rates and good rates", [_forest(content)])
    sft_good = (content.sft or {}).get("both_good_rate")
    pictures = [
        _frontier(content, "both_good_rate", "both-good rate", None if sft_good is None else ("SFT", sft_good)),
        _frontier(content, "gold_win_rate", "gold win rate against SFT", ("a random SFT sample", 0.5)),
    ]
    return Section(title, pictures)


def _frontier(content: Content, name: str, label: str, baseline: tuple[str, float] | None) -> Picture:
    groups: dict[str, list[Point]] = {}
    for policy in content.policies:
        entry = policy.entry
        low, high = entry.get(f"{name}_ci") or (entry[name], entry[name])
        point = Point(entry["kl"], entry[name], low, high, label=f"γ={entry['gamma']:.3g}")
        groups.setdefault(objective_name(entry), []).append(point)
    return Picture(
        f"{name}_by_kl",
        frontier(groups, y_label=label, baseline=baseline),
        alt=f"{label} over KL, one line per objective",
        caption=f"{label[0].upper()}{label[1:]} over KL. Each point is a policy; bars are 95 % intervals over prompts.",
    )


def _forest(content: Content) -> Picture:
    rows: dict[str, dict[str, Point]] = {}
    named = [("aligned", content.policies[0].entry), *([("SFT", content.sft)] if content.sft else [])]
    for name, label in RATES.items():
        for policy, entry in named:
            if entry.get(name) is not None:
                low, high = entry[f"{name}_ci"]
                rows.setdefault(label, {})[policy] = Point(0.0, entry[name], low, high)
    return Picture(
        "rates",
        forest(rows, x_label="share of pairs or responses", reference=0.5),
        alt="win rates and good rates of the aligned policy and of SFT",
        caption="Shares with 95 % intervals over prompts. Win rates are against independent SFT samples; SFT meets its "
        "own other samples, so its win rate is one half. Both win rate: as good in every property and better in one; "
        "ties and mixed results are no win.",
    )


def objective_name(entry: Entry) -> str:
    """`lsc_sum` -> `LSC sum`."""
    return str(entry["objective"]).replace("_", " ").replace("lsc", "LSC")


def improvement(content: Content) -> Section:
    """How the gain over SFT is spread over prompts; several policies at matched KL."""
    title = "Improvement per prompt"
    policies = [policy for policy in content.policies if gains_of(policy)]
    if not policies:
        return Section(title, [paragraph("No gain per prompt was measured here: `allgood evaluate` does that.")])
    if len(policies) > 1:
        pair = matched_pair(policies)
        if pair is None:
            closest = "No two arms of different objectives have a KL within 25 % of each other; all arms are shown."
            return Section(title, [paragraph(closest), _gains(policies), _gain_table(policies)])
        kls = " and ".join(f"{policy.name} ({policy.entry['kl']:.2f} nats)" for policy in pair)
        return Section(
            title, [paragraph(f"The closest KLs of two objectives: {kls}."), _gains(pair), _gain_table(policies)]
        )
    return Section(title, [_gains(policies), _gain_table(policies)])


def gains_of(policy: Policy) -> Mapping[str, Any]:
    """Improvement per property; comparisons keep the whole measurement of an arm, runs its headlines."""
    gold = (policy.entry.get("measurement") or {}).get("gold") or {}
    found: Mapping[str, Any] = policy.entry.get("improvement") or gold.get("improvement") or {}
    return found


def matched_pair(policies: Sequence[Policy]) -> tuple[Policy, Policy] | None:
    """The two policies of different objectives whose KLs are closest, if they are close."""
    pairs = [(a, b) for a, b in combinations(policies, 2) if a.entry["objective"] != b.entry["objective"]]
    apart = {
        index: abs(a.entry["kl"] - b.entry["kl"]) / max(a.entry["kl"], b.entry["kl"], 1e-9)
        for index, (a, b) in enumerate(pairs)
    }
    if not apart:
        return None
    best = min(apart, key=lambda index: apart[index])
    return pairs[best] if apart[best] < MATCHED else None


def _gains(policies: Sequence[Policy]) -> Picture:
    properties, judge = list(gains_of(policies[0])), _judge(policies)
    panels: dict[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]] = {
        name: {policy.name: (CURVE_PERCENTILES, gains_of(policy)[name]["gains_at"]) for policy in policies}
        for name in properties
    }
    return Picture(
        "improvement_per_prompt",
        quantile_curves(panels, y_label=f"{judge} gain over SFT"),
        alt=f"gain in {judge} over SFT by percentile of prompts, per property",
        caption=f"Gain of the mean {judge} score over SFT, prompts sorted by gain. A flat line is a uniform "
        "improvement; few samples per prompt spread the ends.",
    )


def _gain_table(policies: Sequence[Policy]) -> Markup:
    rows = [
        [
            policy.name,
            name,
            f"{found['mean']:+.2f}",
            f"{found['share_improved']:.0%}",
            f"{found['share_worse']:.0%}",
            f"{found['worst_decile']:+.2f}",
            f"{found['best_decile']:+.2f}",
        ]
        for policy in policies
        for name, found in gains_of(policy).items()
    ]
    columns = ["policy", "property", "mean gain", "improved", "worse", "worst tenth", "best tenth"]
    judge = _judge(policies)
    return table(columns, rows, caption=f"Gain in {judge} per prompt, in its own units")


def _judge(policies: Sequence[Policy]) -> str:
    """Whose score the gains are in."""
    return str(policies[0].entry.get("improvement_by", "gold"))


def shortcuts(content: Content) -> Section:
    """Lists, consult, refusals and repetition of every policy."""
    entries = {"SFT": content.sft} if content.sft else {}
    entries |= {policy.name: policy.entry for policy in content.policies}
    rates = {
        name: {
            label: entry["shortcut_rates"][key] for key, label in SHORTCUTS.items() if key in entry["shortcut_rates"]
        }
        for name, entry in entries.items()
        if entry and entry.get("shortcut_rates")
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
