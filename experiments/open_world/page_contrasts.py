"""Differences to the LSC sum: the primary contrast, all others, and where outcome and prediction disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from actors.tables import markdown_table
from allgood.intervals import Interval
from experiments.open_world.analysis import (
    Contrast,
    arm_of,
    best_raw,
    flat_seeds,
    holm,
    lsc_minus,
    predicted_difference,
    prediction_of,
)
from experiments.open_world.design import LABELS, LSC, MAIN_KLS, PRIMARY_KLS, WIDE_KLS, Point
from experiments.open_world.stored import Seed
from experiments.study.flatness import is_flat

Rival = Callable[[Seed], str]
LARGE = 0.05
COLUMNS = ("KL", "predicted", "outcome", "detectable", "p, Holm", "seeds")


def primary_section(seeds: Sequence[Seed]) -> list[str]:
    """LSC sum minus the best raw sum at 2 and 4 nats, at the point strong."""
    found = [lsc_minus(seeds, best_raw(kl), kl) for kl in PRIMARY_KLS]
    lines = [
        "## The primary contrast\n",
        "LSC sum minus the best raw sum (equal weights, tuned weights, or capped), `strong`.\n",
    ]
    if not any(one.seeds or one.left_out for one in found):
        foreseen = [f"{shown(predicted_difference(seeds, best_raw(kl), kl))} at {kl:g} nats" for kl in PRIMARY_KLS]
        return [*lines, f"Not trained yet. Predicted: {'; '.join(foreseen)}.\n"]
    adjusted = iter(holm([one.p_value for one in found if one.p_value is not None]))
    rows = []
    for one in found:
        predicted = predicted_difference(seeds, best_raw(one.target_kl), one.target_kl)
        rows.append(_row(f"{one.target_kl:g}", predicted, one, adjusted))
    lines += [*markdown_table(COLUMNS, rows, align="rllrrl"), ""]
    lines += [*_by_seed(found), ""]
    return [*lines, *_flat_only(seeds), ""]


def secondary_section(seeds: Sequence[Seed], point: Point) -> list[str]:
    """LSC sum minus each other objective, at every KL that both were trained for."""
    rivals = [name for name in LABELS if name != LSC]
    cells = [(name, kl) for name in rivals for kl in (WIDE_KLS if name == "raw_sum" else MAIN_KLS)]
    found = [(name, lsc_minus(seeds, _always(name), kl)) for name, kl in cells]
    found = [(name, one) for name, one in found if one.seeds or one.left_out]
    if not found:
        return []
    adjusted = iter(holm([one.p_value for _, one in found if one.p_value is not None]))
    rows = []
    for name, one in found:
        predicted = predicted_difference(seeds, _always(name), one.target_kl)
        rows.append([LABELS[name], *_row(f"{one.target_kl:g}", predicted, one, adjusted)])
    table = markdown_table(("LSC sum minus", *COLUMNS), rows, align="lrllrrl")
    return [f"### LSC sum minus the others, `{point}`\n", *table, ""]


def surprises(seeds: Sequence[Seed]) -> list[str]:
    """Where 0.05 or more was predicted and the outcome's interval holds 0: what support and convergence say of it."""
    lines = []
    for kl in PRIMARY_KLS:
        predicted, found = predicted_difference(seeds, best_raw(kl), kl), lsc_minus(seeds, best_raw(kl), kl)
        if predicted.mean is None or found.over_seeds is None or abs(predicted.mean) < LARGE:
            continue
        if found.over_seeds.low <= 0.0 <= found.over_seeds.high:
            lines.append(f"* At {kl:g} nats {predicted.mean:+.3f} was predicted. {_circumstances(seeds, kl)}")
    return ["**Predicted, and not seen with an interval without 0:**\n", *lines, ""] if lines else []


def _circumstances(seeds: Sequence[Seed], kl: float) -> str:
    names = [(seed, name) for seed in seeds for name in (LSC, best_raw(kl)(seed))]
    arms = [arm for seed, name in names if (arm := arm_of(seed, name, kl)) is not None]
    predictions = [one for seed, name in names if (one := prediction_of(seed, name, kl)) is not None]
    supported = sum(one["reliable"] for one in predictions)
    flat = sum(is_flat(arm["change"]) for arm in arms)
    return (
        f"Samples support {supported} of the {len(predictions)} predictions, and {flat} of {len(arms)} runs were flat."
    )


def _always(name: str) -> Rival:
    return lambda seed: name


def _row(kl: str, predicted: Contrast, found: Contrast, adjusted: Iterator[float]) -> list[str]:
    p_value = "–" if found.p_value is None else f"{next(adjusted):.3f}"
    detectable = "–" if found.over_seeds is None else f"{found.over_seeds.detectable:.3f}"
    left_out = f", {found.left_out} left out" if found.left_out else ""
    return [kl, shown(predicted), shown(found), detectable, p_value, f"{len(found.seeds)}{left_out}"]


def shown(found: Contrast) -> str:
    """Mean and interval as text: over seeds, or over the prompts of the only one."""
    if not found.seeds:
        return "–"
    if found.over_seeds is None:
        return f"{_interval(found.seeds[0].over_prompts)} (prompts of one seed)"
    return f"{found.over_seeds.mean:+.3f} [{found.over_seeds.low:+.3f}, {found.over_seeds.high:+.3f}]"


def _interval(found: Interval) -> str:
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _by_seed(found: Sequence[Contrast]) -> list[str]:
    rows = [
        [f"{one.target_kl:g}", str(seed.seed), LABELS[seed.second], f"{seed.kl:.2f}", _interval(seed.over_prompts)]
        for one in found
        for seed in one.seeds
    ]
    header = ("KL", "seed", "best raw sum, by validation", "compared at", "difference [over prompts]")
    return markdown_table(header, rows, align="rrlrl")


def _flat_only(seeds: Sequence[Seed]) -> list[str]:
    parts = []
    for kl in PRIMARY_KLS:
        kept = flat_seeds(seeds, best_raw(kl), kl)
        found = lsc_minus(kept, best_raw(kl), kl)
        parts.append(f"at {kl:g} nats {shown(found)} ({len(found.seeds)} seeds)")
    return [f"From flat runs alone: {'; '.join(parts)}."]
