"""The tables of the page, from stored numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from actors.tables import markdown_table
from allgood.idealised.cells import Cell, Errors
from allgood.idealised.objectives import (
    CAPPED,
    CAPPED_Z,
    LSC,
    MINIMUM,
    PAR,
    RAW,
    RIVALS,
    TUNED_LSC,
    Z_SCORE,
)
from experiments.map import groups
from experiments.map.results import MEAN, PER_PROMPT
from experiments.map.stored import Map, at_kl

SHARES_KLS = (1.0, 2.0, 4.0, 8.0)
SHARES_WORLDS: Mapping[str, Cell] = {
    **groups.WORLDS,
    "Laplace errors of half a spread": Cell(errors=groups.LAPLACE),
    "property spreads 1 : 4": Cell(ratio=4.0),
    "1 % overrated in both at once": Cell(errors=replace(groups.OVERRATED, shared=True)),
    "normal errors of one spread": Cell(errors=Errors("normal", 1.0)),
    "gold ends 0.5 above the bar": Cell(ceiling=0.5),
}
_BY_PROMPT, _BY_BOTH = Cell(between_prompts=0.7, cut=4.0), Cell(mixed=0.7, cut=4.0)
ESTIMATES: Sequence[tuple[str, Cell, Mapping[float, str]]] = (
    ("alike, exact", Cell(), {0.5: ".14 / .12", 1: ".24 / .21", 2: ".42 / .45", 4: ".71 / .87"}),
    (
        "Laplace errors of half a spread",
        Cell(errors=groups.LAPLACE),
        {0.5: ".12 / .10", 1: ".19 / .18", 2: ".33 / .34", 4: ".55 / .67"},
    ),
    ("1 % overrated", groups.RARE, {0.5: ".09 / .11", 1: ".12 / .20", 2: ".16 / .38", 4: ".22 / .59"}),
    (
        "spreads differ by prompt and property, sigma 0.7",
        _BY_BOTH,
        {0.5: ".11 / .11", 1: ".18 / .20", 2: ".27 / .43", 4: ".42 / .82"},
    ),
    (
        "the same, 1 % overrated",
        Cell(mixed=0.7, cut=4.0, errors=groups.OVERRATED),
        {0.5: ".06 / .10", 1: ".07 / .18", 2: ".11 / .37", 4: ".17 / .55"},
    ),
    ("spreads differ by prompt, sigma 0.7", _BY_PROMPT, {2: ".38 / .47"}),
)
OTHERS: Sequence[tuple[str, Cell, str, float, float, str, str]] = (
    ("bar at 50 %", Cell(), RAW, 2, 0.5, MEAN, ".85"),
    ("bar at 50 %", Cell(), LSC, 2, 0.5, MEAN, ".95"),
    ("bar at 95 %", Cell(), RAW, 2, 0.95, MEAN, ".17"),
    ("bar at 95 %", Cell(), LSC, 2, 0.95, MEAN, ".11"),
    ("rewards of spread 4 nats", Cell(spread=4.0), LSC, 4, 0.85, MEAN, ".95"),
    ("rewards of spread 0.5 nats", Cell(spread=0.5), LSC, 4, 0.85, MEAN, ".79"),
    ("spreads differ by prompt, equal KL on each", _BY_PROMPT, RAW, 2, 0.85, PER_PROMPT, ".42"),
    ("spreads differ by prompt, equal KL on each", _BY_PROMPT, LSC, 2, 0.85, PER_PROMPT, ".44"),
    ("spreads differ by prompt and property", _BY_BOTH, Z_SCORE, 2, 0.85, MEAN, ".42"),
    ("spreads differ by prompt and property", _BY_BOTH, PAR, 2, 0.85, MEAN, ".46"),
    ("spreads differ by prompt and property", _BY_BOTH, PAR, 4, 0.85, MEAN, ".78"),
    ("spreads differ by prompt and property", _BY_BOTH, MINIMUM, 2, 0.85, MEAN, ".43"),
    ("spreads differ by prompt and property", _BY_BOTH, MINIMUM, 4, 0.85, MEAN, ".74"),
)


def shares(found: Map) -> list[str]:
    """What scale, tail and log-sigmoid give."""
    header = [
        "world",
        "KL",
        "raw",
        "scale",
        "tail",
        "only log-sigmoid",
        "LSC",
        "LSC, tuned",
        "capped",
        "PAR",
        "minimum",
    ]
    rows = []
    for name, cell in SHARES_WORLDS.items():
        for kl in SHARES_KLS:
            rate = {objective: at_kl(found.all_good(cell, objective), kl) for objective in _SHOWN}
            rival = max(rate[objective] for objective in RIVALS)
            parts = (rate[Z_SCORE] - rate[RAW], rate[CAPPED_Z] - rate[Z_SCORE], rate[TUNED_LSC] - rival)
            rates = [rate[objective] for objective in (LSC, TUNED_LSC, CAPPED, PAR, MINIMUM)]
            rows.append(
                [name, f"{kl:g}", f"{rate[RAW]:.2f}", *(f"{part:+.2f}" for part in parts), *(f"{r:.2f}" for r in rates)]
            )
    return markdown_table(header, rows, align="l" + "r" * 10)


def allocation(found: Map) -> list[str]:
    """Equal mean KL against equal KL per prompt, where spreads differ between prompts."""
    header = ["spread between prompts", "KL", "at equal mean: raw / LSC", "equal on each: raw / LSC"]
    header += ["KL of raw, 10 to 90 % of prompts", "KL of LSC"]
    rows = []
    worlds = [(f"sigma {sigma:g}", Cell(between_prompts=sigma)) for sigma in (0.5, 1.0)]
    for name, cell in [*worlds, ("different spreads", groups.DIFFERENT), ("and 1 % overrated", groups.BOTH)]:
        for kl in (1.0, 2.0, 4.0):
            pairs = [
                " / ".join(f"{at_kl(found.all_good(cell, objective, matching=m), kl):.2f}" for objective in (RAW, LSC))
                for m in (MEAN, PER_PROMPT)
            ]
            ranges = [
                " to ".join(f"{at_kl(found.measure(cell, objective, end), kl):.1f}" for end in ("kl_low", "kl_high"))
                for objective in (RAW, LSC)
            ]
            rows.append([name, f"{kl:g}", *pairs, *ranges])
    return markdown_table(header, rows, align="lrrrrr")


def turning_points(found: Map) -> list[str]:
    """All-good rates over KL where answers are overrated."""
    shown = " / ".join(f"{kl:g}" for kl in SHARES_KLS)
    header = ["share overrated", "-log of it", *(f"{name}, KL {shown}" for name in _TURNING)]
    own = [Errors("overrated", 4, rate) for rate in groups.RATES]
    rows = []
    for error in [*own, *(replace(error, shared=True) for error in own if error.rate in (0.01, 0.1))]:
        row = [f"{error.rate:.1%}" + (", in both at once" if error.shared else ""), f"{-math.log(error.rate):.1f}"]
        for objective in _TURNING:
            rates = found.all_good(Cell(errors=error), objective)
            row.append(" / ".join(f"{at_kl(rates, kl):.2f}" for kl in SHARES_KLS))
        rows.append(row)
    return markdown_table(header, rows, align="lr" + "r" * len(_TURNING))


def absolute(found: Map) -> list[str]:
    """One bar in nats for prompts of different spread; the reference a quantile of the prompt, or that bar."""
    header = ["errors", "reference", *(f"KL {kl:g}: raw / LSC / capped" for kl in SHARES_KLS[:3])]
    rows = []
    for cell in groups.absolute():
        row = [
            "1 % overrated" if cell.errors.kind == "overrated" else "none",
            "the bar" if cell.absolute_reference else "85 % quantile on the prompt",
        ]
        for kl in SHARES_KLS[:3]:
            rates = [at_kl(found.all_good(cell, objective), kl) for objective in (RAW, LSC, CAPPED)]
            row.append(" / ".join(f"{rate:.2f}" for rate in rates))
        rows.append(row)
    return markdown_table(header, rows, align="llrrr")


def prompts_left_behind(found: Map) -> list[str]:
    """Other measures than the mean all-good rate, at 2 nats."""
    header = ["world", "objective", "all good", "not improved", "worst tenth", "gold win rate"]
    rows = []
    for name, cell in (("different spreads", groups.DIFFERENT), ("different spreads, 1 % overrated", groups.BOTH)):
        for objective in (RAW, CAPPED, Z_SCORE, LSC, PAR, MINIMUM):
            measures = ("all_good", "not_improved", "worst_tenth", "gold_win")
            numbers = [at_kl(found.measure(cell, objective, measure), 2.0) for measure in measures]
            rows.append([name, objective, *(f"{number:.2f}" for number in numbers)])
    return markdown_table(header, rows, align="llrrrr")


def sampled(found: Map, samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """Samples of pi_0 against the calculation, and against themselves where there is none."""
    header = [
        "errors",
        "objective",
        "KL",
        "samples",
        "all good (s.e.)",
        "calculated",
        "ESS of the worst prompt",
        "reliable",
    ]
    rows = []
    for row in samples:
        exact = at_kl(found.all_good(Cell(), row["objective"]), row["kl"]) if row["errors"] == "none" else None
        rows.append(
            [
                {"none": "none", "student": "t(3), half a spread"}[row["errors"]],
                row["objective"],
                f"{row['kl']:g}",
                f"{row['num_samples']:,}",
                f"{row['all_good']:.3f} ({row['error']:.3f})",
                "no limit" if exact is None else f"{exact:.3f}",
                f"{row['effective']:.0f}",
                "yes" if row["reliable"] else "no",
            ]
        )
    return markdown_table(header, rows, align="llrrrrrl")


def first_estimates(found: Map) -> list[str]:
    """Earlier estimates by sampling, and what is calculated."""
    kls = (0.5, 1.0, 2.0, 4.0)
    header = [
        "world: raw / LSC",
        *(f"KL {kl:g}: estimate" if part == 0 else "calculated" for kl in kls for part in (0, 1)),
    ]
    rows = []
    for name, cell, estimates in ESTIMATES:
        row = [name]
        for kl in kls:
            row += [estimates.get(kl, "–"), _pair(found, cell, kl)]
        rows.append(row)
    return markdown_table(header, rows, align="l" + "r" * 2 * len(kls))


def other_estimates(found: Map) -> list[str]:
    """Single numbers among those estimates."""
    rows = [
        [name, objective, f"{kl:g}", estimate, f"{at_kl(found.all_good(cell, objective, bar=bar, matching=m), kl):.2f}"]
        for name, cell, objective, kl, bar, m, estimate in OTHERS
    ]
    return markdown_table(["world", "objective", "KL", "estimate", "calculated"], rows, align="llrrr")


def _pair(found: Map, cell: Cell, kl: float) -> str:
    numbers = [f"{at_kl(found.all_good(cell, objective), kl):.2f}".removeprefix("0") for objective in (RAW, LSC)]
    return " / ".join(numbers)


_SHOWN = (*RIVALS, LSC, TUNED_LSC, PAR, MINIMUM)
_TURNING = (RAW, CAPPED, LSC, MINIMUM)
