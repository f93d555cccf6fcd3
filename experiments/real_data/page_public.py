"""The section of the page on strong reward models, from public files."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from actors.tables import markdown_table
from experiments.real_data.public_scores import COMMITS

Stored = Mapping[str, Any]


def strong(public: Stored) -> str:
    """Spreads, correlations and tails of strong reward models."""
    commits = {name: commit[:7] for name, commit in COMMITS.items()}
    judged = f"""[allenai/reward-bench](https://github.com/allenai/reward-bench) at `{commits["reward-bench"]}`: 16
    samples of Tulu-2-dpo-13b per prompt of AlpacaEval, judged by GPT-4 against one fixed answer.
    {_judged(public["judged"])}"""
    return f"""## Strong reward models, from public files

Measured here from scores per answer that two public repositories store; `--public` reads clones of them.

[HahmDY/reward-modeling-develop](https://github.com/HahmDY/reward-modeling-develop) at
`{commits["reward-modeling-develop"]}`: samples of one policy (its SFT model of Qwen3 4B on AlpacaFarm, temperature 1).

{_spreads(public)}

{wrapped(_many(public["many_samples"]))}

{wrapped(judged)}"""


def wrapped(paragraph: str) -> str:
    """A paragraph with numbers in it, in lines of the page's width."""
    return textwrap.fill(" ".join(paragraph.split()), 118, break_long_words=False, break_on_hyphens=False)


def shown(found: Mapping[str, float], digits: int = 2) -> str:
    """A value with its interval."""
    return f"{found['value']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def _spreads(public: Stored) -> str:
    header = ["reward model", "samples", "spread, nats", "sigma over prompts (two estimates)"]
    header += ["correlation with its labeller", "errors: excess kurtosis; largest, in sd"]
    labelled = {f"{name}, trained on its choices": found for name, found in public["trained"].items()}
    rows = []
    for name, found in {"Skywork-Reward-V2-Llama-3.1-8B": public["labeller"], **labelled}.items():
        errors = ["–", "–"]
        if "correlation" in found:
            errors = [shown(found["correlation"]), f"{found['error_kurtosis']:.1f}; {found['largest_error']:.1f}"]
        sigmas = f"{shown(found['sigma'])}; {found['sigma_of_logs']:.2f}"
        rows.append([name, f"{found['prompts']:,} x 2", shown(found["spread"]), sigmas, *errors])
    return "\n".join(markdown_table(header, rows, align="lrrrrr"))


def _many(many: Stored) -> str:
    reach = many["reach"]
    return f"""The 4B model on {many["prompts"]} prompts x {many["samples"]} samples: spread {many["typical"]:.2f}
nats, sigma {many["sigma"]:.2f}. Rewards are skewed to the left on {many["skewed_left"]} of {many["prompts"]} prompts.
The best sample lies {reach["low"]:.1f} to {reach["high"]:.1f} spreads above the 85 % quantile (median
{reach["median"]:.1f}; {many["normal_reach"]:.1f} if rewards were normal): rewards end not far above, as with the map's
ceiling. Samples more than three spreads above the mean: {many["far_above"]}, where {many["expected_far"]:.0f} would be
if 1 % were overrated by 2 to 6 spreads. Overrated are less than about {many["most_overrated"]:.2%}, in that model, on
that policy. Many of those samples are alike, so that the bound is a rough one."""


def _judged(judged: Stored) -> str:
    falling = sorted(judged["correlation"].items(), key=lambda item: -item[1]["value"])
    correlations = ", ".join(f"{name.split('/')[-1]} {row['value']:.2f}" for name, row in falling)
    error = max(row["error"] for _, row in falling)
    return f"""What the best
of 16 by a reward model gains gives its correlation with the judgement within prompts: {correlations} (standard errors
{error:.2f}; the judge's noise included). The judge's logit has a spread of {shown(judged["typical"])} nats and sigma
{shown(judged["sigma"])} on {judged["prompts"]} prompts, from {judged["judged"]} of the 16 files, without prompts where
it is nearly always sure."""
