"""Sections from an evaluation's measurements: learned scorers and judges, efficiency, and the responses themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.evaluation.estimates import Estimate
from pipelines.evaluation.measurements import JudgeFindings, Measurements, SampleRow
from pipelines.reporting.content import Content
from pipelines.reporting.html import Markup, Picture, Section, heading, number, paragraph, table, with_interval

_BY_REWARD = {"best": "highest training reward", "worst": "lowest training reward"}  # where nobody judges
NUM_SHOWN = 3  # best and worst validation samples of a group's policy


def evaluators(content: Content) -> Section:
    """Evaluator 2 and the HTTP judge, or why they are absent."""
    title = "Evaluators and judges"
    found = content.measurements
    if found is None:
        return Section(
            title, [paragraph("No learned evaluator and no judge was asked; gold alone measured, where it exists.")]
        )
    if not found.is_judged:
        return Section(title, [paragraph("Nobody judges this run; the main table says what follows from that.")])
    body: list[Markup | Picture] = []
    if found.evaluators:
        columns = ["property", "bar: π0 quantile", "over the bar", "π0 over it", "against a random π0 sample"]
        rows = [
            [
                name,
                f"{part.quantile:.0%}",
                _ci(part.over_quantile),
                _ci(part.sft_over_quantile),
                _ci(part.win_rate),
            ]
            for name, part in found.evaluators.items()
        ]
        body.append(table(columns, rows, caption="Evaluator 2: held-out preference models"))
    else:
        body.append(paragraph("Evaluator 2 was not used: this run has no held-out preference model."))
    body.append(_judge(found.judge) if found.judge else paragraph("No HTTP judge was configured."))
    return Section(title, body)


def _judge(judge: JudgeFindings) -> Markup:
    rows = [
        [name, _ci(part.win_rate), number(part.share_consistent, 2), str(part.num_failed)]
        for name, part in judge.properties.items()
    ]
    columns = ["property", "win rate against π0", "same verdict in both orders", "unreadable"]
    return table(columns, rows, caption=f"HTTP judge {judge.model}, each pair asked in both orders, ties one half")


def learned_scorers(content: Content) -> Section:
    """Saturation, agreement, correlation of margins, efficiency."""
    title = "Training rewards under scrutiny"
    found = content.measurements
    if found is None:
        return Section(title, [paragraph("Saturation, agreement and efficiency come with `allgood evaluate`.")])
    body: list[Markup | Picture] = [_gains(found) if found.is_judged else _bare_gains(found)]
    agreements = [
        [name, pair.replace("~", " and "), _ci(of_sft), _ci(part.agreement.aligned.get(pair))]
        for name, part in found.reward_models.items()
        for pair, of_sft in part.agreement.sft.items()
    ]
    if agreements:
        caption = "Agreement: share of pairs of a prompt's samples that both put in the same order"
        body.append(table(["property", "scorers", "on π0 samples", "on aligned samples"], agreements, caption=caption))
    correlations = [
        [pair.replace("~", " and "), number(part.sft, 2), number(part.aligned, 2)]
        for pair, part in found.margin_correlations.items()
    ]
    if correlations:
        caption = "Correlation of margins given the prompt"
        body.append(table(["properties", "π0", "aligned"], correlations, caption=caption))
    body.append(_efficiency(found))
    return Section(title, body)


def _gains(found: Measurements) -> Markup:
    rows = [
        [
            name,
            _ci(part.gain),
            _ci(part.win_rate),
            *(number(of.mean_p_good, 2) for of in (part.saturation.sft, part.saturation.aligned)),
            *(number(of.share_saturated, 2) for of in (part.saturation.sft, part.saturation.aligned)),
        ]
        for name, part in found.reward_models.items()
    ]
    columns = [
        "property",
        "reward gain",
        "reward win rate",
        "P(good): π0",
        "P(good): aligned",
        "> 0.95: π0",
        "> 0.95: aligned",
    ]
    return table(columns, rows, caption="What the training reward models say of test responses")


def _bare_gains(found: Measurements) -> Markup:
    """Without a judge nothing of this is a win, and nothing good."""
    rows = [[name, _ci(part.gain), str(part.num_failed)] for name, part in found.reward_models.items()]
    return table(
        ["property", "gain in training reward", "failed scores"],
        rows,
        caption="Training rewards of test responses, each in its own units",
    )


def _efficiency(found: Measurements) -> Markup:
    efficiency = found.efficiency
    if efficiency is None:
        return paragraph(f"Efficiency: not available, {found.efficiency_missing}.")
    warning = "" if efficiency.reliable else " The tilt has too few samples for this KL: read it as an upper bound."
    return paragraph(
        f"Efficiency: {efficiency.value:.2f} = utility gain {efficiency.achieved_gain:.3f} nats of training over "
        f"{efficiency.tilt_gain:.3f} nats of the exact tilt at the same KL of {efficiency.kl:.2f} nats "
        f"({efficiency.num_prompts} validation prompts × {efficiency.num_samples} samples of π0).{warning}"
    )


def responses(content: Content) -> Section:
    """Best, worst and most changed responses, with their numbers."""
    title = "Responses"
    found = content.measurements
    if found is not None:
        body: list[Markup | Picture] = [
            paragraph(
                f"{'Best and worst' if found.is_judged else 'Highest and lowest'} by {found.table_ranked_by}, most "
                "changed by log π/π0; one per prompt."
            )
        ]
        for kind in dict.fromkeys(row.kind for row in found.table):
            name = kind if found.is_judged else _BY_REWARD.get(kind, kind)
            body += [
                heading(name.capitalize()),
                _response_table([row for row in found.table if row.kind == kind]),
            ]
        return Section(title, body)
    policy = content.policies[content.chosen or 0]
    scored = sorted((row for row in policy.samples if row.get("utility") is not None), key=lambda row: -row["utility"])
    if not scored:
        return Section(title, [paragraph("No samples were kept.")])
    body = [paragraph(f"Validation samples of {policy.name} at its last step, best and worst by combined utility.")]
    changed = sorted(scored, key=lambda row: -row["kl"])
    kinds = {"Best": scored[:NUM_SHOWN], "Worst": scored[::-1][:NUM_SHOWN], "Most changed": changed[:NUM_SHOWN]}
    for kind, rows in kinds.items():
        body += [heading(kind), _sample_table(rows, list(content.config.properties))]
    return Section(title, body)


def _response_table(rows: Sequence[SampleRow]) -> Markup:
    columns = ["prompt", "aligned response", "π0 response", "log π/π0", "aligned (π0)"]
    cells = [
        [
            _asked(row.prompt),
            row.response or "(empty)",
            row.sft_response or "(empty)",
            number(row.kl, 2),
            "\n".join(
                f"{name} {number(value, 2)} ({number(row.sft_numbers.get(name), 2)})"
                for name, value in row.numbers.items()
            ),
        ]
        for row in rows
    ]
    return table(columns, cells, long_text=True)


def _sample_table(rows: Sequence[Mapping[str, Any]], properties: Sequence[str]) -> Markup:
    cells = [
        [
            _asked(row["prompt"]),
            row["response"] or "(empty)",
            number(row["kl"], 2),
            number(row["utility"], 2),
            "\n".join(_by_property(row, name) for name in properties),
        ]
        for row in rows
    ]
    return table(["prompt", "response", "log π/π0", "utility", "numbers"], cells, long_text=True)


def _asked(prompt: str) -> str:
    """The prompt without its closing "Assistant:" and without empty lines."""
    return prompt.strip().removesuffix("Assistant:").strip().replace("\n\n", "\n")


def _by_property(row: Mapping[str, Any], name: str) -> str:
    """`helpful: r -0.56, r_ref 0.60, u -1.44, gold -3.83`."""
    views = {"r": "reward", "r_ref": "reference", "u": "utility", "gold": "gold"}
    shown = [f"{label} {number(row[f'{view}.{name}'], 2)}" for label, view in views.items() if f"{view}.{name}" in row]
    return f"{name}: {', '.join(shown)}"


def _ci(found: Estimate | None) -> str:
    return "–" if found is None else with_interval(found.value, found.low, found.high)
