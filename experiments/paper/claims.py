"""The paper's claims in one table: where the map says that they hold, and where trained policies showed them, or not.

What the embedded world showed is read off the page's sections. The map's cells are its four worlds (everything alike
and exact, different spreads, 1 % overrated, both), or others where a claim is about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from actors.tables import markdown_table
from allgood.idealised.cells import TARGET_KLS, Cell, Errors
from allgood.idealised.objectives import LOGIT, LSC, MINIMUM, RAW
from experiments.map.groups import OVERRATED, REFERENCES, WORLDS
from experiments.map.stored import Map
from experiments.open_world import design
from experiments.open_world.analysis import Values, level_at, lsc_minus
from experiments.open_world.metrics import METRICS
from experiments.open_world.page_contrasts import shown
from experiments.open_world.stored import Seed
from experiments.study.analysis import paired

KLS = (0.5, 1.0, 2.0, 4.0, 8.0)
TELLING = 0.005  # a difference of rates from which on the map tells two objectives apart
EXTREMES = {"0.1 %": Errors("overrated", 4, 0.001), "10 %": Errors("overrated", 4, 0.1)}
FEW_OVERRATED = {
    **{name: cell for name, cell in WORLDS.items() if "overrated" in name},
    **{f"{share} overrated": Cell(errors=errors) for share, errors in EXTREMES.items()},
    "1 % overrated in both at once": Cell(errors=replace(OVERRATED, shared=True)),
}
ONE_PROPERTY = {name: replace(WORLDS[name], properties=1) for name in ("alike", "different spreads", "1 % overrated")}
NOT_ASKED = "not asked"
NOT_TRAINED = "not trained yet"

Points = Mapping[design.Point, Sequence[Seed]]


@dataclass(frozen=True)
class OnMap:
    """A difference that a claim gives a sign, in several cells of the map."""

    first: str
    second: str
    cells: Mapping[str, Cell] = field(default_factory=lambda: WORLDS)
    measure: str = "all_good"
    sign: int = 1

    def differences(self, found: Map) -> np.ndarray:
        """[KLs, cells]: `first` minus `second`; NaN where the lattice does not hold the optimum."""
        columns = []
        for cell in self.cells.values():
            names = self.first, self.second
            first, second = (found.measure(cell, name, self.measure) for name in names)
            trusted = np.all([found.is_trusted(cell, name) for name in names], axis=0)
            columns.append(np.where(trusted, first - second, np.nan))
        return np.stack(columns, axis=1)[[TARGET_KLS.index(kl) for kl in KLS]]

    def in_words(self, found: Map) -> str:
        """In how many cells the sign is the claimed one, per KL, and how large differences are."""
        differences = self.differences(found)
        holds = (self.sign * differences > TELLING).sum(1)
        opposed = (self.sign * differences < -TELLING).sum(1)
        num = differences.shape[1]
        parts = [
            f"in {_of(count, num)} at {kl:g}" + (f" (the opposite in {_of(other, num)})" if other else "")
            for kl, count, other in zip(KLS, holds, opposed, strict=True)
        ]
        sizes = f"{np.nanmin(differences):+.2f} to {np.nanmax(differences):+.2f}"
        what = f"{self.first} minus {self.second}{' in the share not improved' if self.sign < 0 else ''}"
        return f"{what}: of {num} worlds it holds {', '.join(parts)} nats; {sizes}"


@dataclass(frozen=True)
class Claim:
    """One claim: words, sections of the page that tried it, and what the map and the open world have to say."""

    words: str
    sections: tuple[str, ...]
    on_map: tuple[OnMap, ...] = ()
    rival: str | None = None
    metrics: tuple[str, ...] = ()


CLAIMS = (
    Claim(
        "The sum of log-sigmoids beats the sum of raw rewards at every KL",
        ("Both properties (figure 1)",),
        (OnMap(LSC, RAW),),
        rival=design.RAW,
    ),
    Claim(
        "Transforming one reward helps too",
        ("One property: helpful", "One property: harmless"),
        (OnMap(LSC, RAW, ONE_PROPERTY),),
    ),
    Claim("A larger gamma keeps the policy closer", ("The KL coefficient",)),
    Claim(
        "At matched KL gains are more uniform: fewer prompts not improved",
        ("Underfitting at matched KL",),
        (OnMap(LSC, RAW, measure="not_improved", sign=-1),),
        metrics=("not improved",),
    ),
    Claim(
        "Fewer hacks: what reward models overrate is bought less",
        ("Shortcuts against KL",),
        (OnMap(LSC, RAW, FEW_OVERRATED),),
        metrics=("rare phrases", "overoptimisation"),
    ),
    Claim(
        "The sum is a logical AND; the AND and the diminishing utility both help",
        ("Aggregation",),
        (OnMap(LOGIT, RAW), OnMap(LSC, LOGIT), OnMap(LSC, MINIMUM)),
        rival=design.LOGIT,
    ),
    Claim("Best-of-k gains as well", ("Best-of-k",)),
    Claim("The reference is a choice that matters", ("Reference points",)),
)

HEAD = f"""## The claims, one by one

*The map*: [calculated](map.md) optima in idealised worlds at {", ".join(f"{kl:g}" for kl in KLS)} nats; a difference
counts from {TELLING:g} on. *Embedded world*: trained policies, in the sections below. *Open world*: [trained
policies](open_world.md), log-sigmoid minus rival, with 95 % intervals over seeds. Best-of-k was also tried on
[real answers](best_of_k_real.md).
"""


def claims_table(findings: Mapping[str, str], found: Map, points: Points) -> list[str]:
    """`findings` has what each section found, by its title."""
    header = ("claim, as we understand it", "the map", "embedded world", "open world")
    rows = [
        [
            claim.words,
            _on_the_map(claim, found),
            " ".join(_finding(title, findings, is_alone=len(claim.sections) == 1) for title in claim.sections),
            _open_world(claim, points),
        ]
        for claim in CLAIMS
    ]
    return [*HEAD.splitlines(), "", *markdown_table(header, rows, align="llll")]


def _on_the_map(claim: Claim, found: Map) -> str:
    if "Reference points" in claim.sections:
        return _references(found)
    return ". ".join(one.in_words(found) for one in claim.on_map) or NOT_ASKED


def _references(found: Map) -> str:
    """How much the LSC sum's all-good rate changes over references, per KL, most of the four worlds."""
    rates = np.array(
        [
            [found.all_good(replace(cell, reference=reference), LSC) for reference in REFERENCES]
            for cell in WORLDS.values()
        ]
    )
    ranges = np.ptp(rates, axis=1).max(0)[[TARGET_KLS.index(kl) for kl in KLS]]
    return (
        f"between references at the {100 * REFERENCES[0]:.0f} and the {100 * REFERENCES[-1]:.0f} % quantile the rate "
        f"of the LSC sum changes by up to {' / '.join(f'{value:.2f}' for value in ranges)}"
    )


def _finding(title: str, findings: Mapping[str, str], *, is_alone: bool) -> str:
    found = findings[title]
    return found if is_alone else f"{title.partition(': ')[2]}: {found}"


def _open_world(claim: Claim, points: Points) -> str:
    if claim.rival is None and not claim.metrics:
        return NOT_ASKED
    said = []
    for point, seeds in points.items():
        if claim.rival is not None:
            said += _contrasts(point, seeds, claim.rival)
        said += [line for name in claim.metrics for line in _metric(point, seeds, name)]
    return "; ".join(said) or NOT_TRAINED


def _contrasts(point: design.Point, seeds: Sequence[Seed], rival: str) -> list[str]:
    found = [lsc_minus(seeds, lambda _: rival, kl) for kl in design.WIDE_KLS]
    return [
        f"`{point}`, {one.target_kl:g} nats, all good: {shown(one)}, {len(one.seeds)} seeds"
        for one in found
        if one.seeds
    ]


def _metric(point: design.Point, seeds: Sequence[Seed], name: str) -> list[str]:
    read: Values = next(metric.read for metric in METRICS if metric.name == name)
    lines = []
    for kl in design.MAIN_KLS:
        pairs = [[level_at(seed, objective, kl, read) for objective in (design.LSC, design.RAW)] for seed in seeds]
        values = np.array([ours - raw for ours, raw in pairs if ours is not None and raw is not None])
        if len(values) > 1:
            over = paired(values)
            lines.append(
                f"`{point}`, {kl:g} nats, {name}: {over.mean:+.3f} [{over.low:+.3f}, {over.high:+.3f}], "
                f"{len(values)} seeds"
            )
        elif len(values) == 1:
            lines.append(f"`{point}`, {kl:g} nats, {name}: {values[0]:+.3f}, 1 seed")
    return lines


def _of(count: int, num: int) -> str:
    return {0: "none", num: "all"}.get(count, str(count))
