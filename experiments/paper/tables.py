"""Tables of paper.md, and the sentences under them: where the paper's claim holds, and where it does not.

A claim gives a difference its sign. It holds where the 95 % interval over seeds lies on that side of 0; an interval
with 0 inside says neither yes nor no, and *detectable* how large a difference these seeds could have shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from actors.tables import markdown_table
from experiments.paper.stored import (
    Metric,
    Result,
    difference_at,
    labels_of,
    mean_with_interval,
    near_target,
    paired_difference,
    reliable_up_to,
    shown,
    targets_of,
    tilted_curves,
)
from experiments.study.analysis import Difference, matched_difference
from experiments.study.convergence import EFFICIENCY, convergence_in_words, convergence_table
from experiments.study.tuned import distinct_arms, weights_in_words

MATCHED_KLS = (0.5, 1.0, 1.5)
TILTED_KLS = (0.5, 1.0)
_SOLVED = 0.999  # a point meets its target KL up to the solver's tolerance


@dataclass(frozen=True)
class Compared:
    """One difference, in words, and the sign that a claim gives it. None: fewer than two seeds show it."""

    words: str
    found: Difference | None
    sign: int = 1

    @property
    def direction(self) -> int:
        """1: as claimed, -1: the opposite, 0: cannot be told from 0."""
        if self.found is None or self.found.low <= 0.0 <= self.found.high:
            return 0
        return self.sign if self.found.mean > 0 else -self.sign


def verdict(compared: Sequence[Compared]) -> str:
    """How often the claim's sign is found, how often nothing can be said, and by name where the opposite is found."""
    known = [case for case in compared if case.found is not None]
    holds, open_, against = ([case for case in known if case.direction == way] for way in (1, 0, -1))
    sentences = [
        f"*We find* the claim's sign, with an interval without 0, in {len(holds)} of {len(known)} comparisons "
        f"({0.025 * len(known):.1f} would show it by chance)."
    ]
    if against:
        sentences.append(f"*It does not hold*: the sign is the opposite for {_listed(against)}.")
    if open_:
        sentences.append(f"{len(open_)} cannot be told apart from 0.")
    if len(known) < len(compared):
        sentences.append(f"{len(compared) - len(known)} comparisons have fewer than two seeds that reach the KL.")
    return " ".join(sentences)


def verdict_without_claim(compared: Sequence[Compared], baseline: str) -> str:
    """What lies above and below a baseline, where nothing was claimed."""
    known = [case for case in compared if case.found is not None]
    above, below = ([case for case in known if case.direction == way] for way in (1, -1))
    return (
        f"*We find* {len(above)} of {len(known)} comparisons above {baseline}{_in_brackets(above)}, and {len(below)} "
        f"below it{_in_brackets(below)}; the others cannot be told apart from it. About {0.05 * len(known):.1f} would "
        "differ by chance."
    )


def _listed(cases: Sequence[Compared]) -> str:
    return "; ".join(f"{case.words} ({case.found.mean:+.3f})" for case in cases if case.found is not None)


def _in_brackets(cases: Sequence[Compared]) -> str:
    return f" ({_listed(cases)})" if cases else ""


def differences(results: Sequence[Result], first: str, second: str, metrics: Mapping[str, Metric]) -> list[str]:
    """A table of `first` minus `second` at matched KL, and the verdict on the claim that it is above 0."""
    rows, compared = difference_rows(results, first, second, metrics)
    return [*rows, "", verdict(compared)]


def difference_rows(
    results: Sequence[Result], first: str, second: str, metrics: Mapping[str, Metric], *, sign: int = 1
) -> tuple[list[str], list[Compared]]:
    """A table of `first` minus `second` at matched KL, and its differences with the sign that a claim gives them."""
    rows, compared = [], []
    for name, metric in metrics.items():
        found = {kl: difference_at(results, first, second, metric, kl) for kl in MATCHED_KLS}
        rows.append([name, *map(shown, found.values())])
        compared += [Compared(f"{name} at KL {kl:g}", difference, sign) for kl, difference in found.items()]
    return markdown_table([f"{first} minus {second}", *(f"KL {kl:g}" for kl in MATCHED_KLS)], rows), compared


def convergence(results: Sequence[Result], labels: Mapping[str, str]) -> list[str]:
    """Coefficient, KL and last quarter of every trained setting, and how many arms are flat."""
    arms = [arm for arm in distinct_arms(results) if arm["objective"] in labels]
    tuned = weights_in_words(results)
    return [
        "",
        "Training, means over seeds:",
        "",
        *convergence_table(results, labels),
        "",
        EFFICIENCY,
        "",
        *([tuned, ""] if tuned else []),
        convergence_in_words(arms),
    ]


def trained_table(results: Sequence[Result], baseline: str, shortcut: Mapping[str, Metric]) -> list[str]:
    """Arms of the one trained target: both-good and shortcut rates, and the difference to `baseline` at matched KL."""
    target = _trained_target(results)
    header = [f"setting, {len(results)} seeds", "KL", "both good", f"at KL {target:g}, minus {baseline}", *shortcut]
    rows = []
    for label in labels_of(results):
        arms = near_target(results, label, target)
        kl = sum(float(arm["kl"]) for arm in arms) / len(arms)
        cells = [f"{kl:.2f}", mean_with_interval([float(arm["both_good_rate"]) for arm in arms])]
        mark = "" if _move_is_supported(results, label) and _move_is_supported(results, baseline) else " !"
        cells.append("" if label == baseline else shown(trained_difference(results, label, baseline)) + mark)
        cells += [mean_with_interval([rate(arm) for arm in arms]) for rate in shortcut.values()]
        rows.append([label, *cells])
    return markdown_table(header, rows, align="lrll" + "l" * len(shortcut))


def _move_is_supported(results: Sequence[Result], label: str) -> bool:
    target = _trained_target(results)
    arms = near_target(results, label, target)
    reached = zip(arms, reliable_up_to(results, label), strict=True)
    return all(reach >= _SOLVED * max(target, float(arm["kl"])) for arm, reach in reached)


def trained_difference(results: Sequence[Result], first: str, second: str) -> Difference | None:
    """`first` minus `second` in the both-good rate, both at the one target KL, paired by seed."""
    target = _trained_target(results)
    pairs = zip(_rates_at(results, first, target), _rates_at(results, second, target), strict=True)
    known = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    return paired_difference([mine for mine, _ in known], [theirs for _, theirs in known])


def _rates_at(results: Sequence[Result], label: str, target: float) -> list[float | None]:
    """Both-good rate of each seed's arm, moved to the target KL by as much as the tilt of its objective changes.

    Arms of one target spend different KL, by a tenth of a nat or so; a line from the SFT policy to a single arm would
    know too little of the curve between them. None where the tilt does not reach both KLs.
    """
    arms = near_target(results, label, target)
    moves = _moves(results, label, target)
    return [
        None if move is None else float(arm["both_good_rate"]) + move for arm, move in zip(arms, moves, strict=True)
    ]


def _moves(results: Sequence[Result], label: str, target: float) -> list[float | None]:
    moves: list[float | None] = []
    arms = near_target(results, label, target)
    for arm, tilt in zip(arms, tilted_curves(results, label, "both_good"), strict=True):
        there, here = tilt.at(target), tilt.at(float(arm["kl"]))
        moves.append(None if there is None or here is None else there - here)
    return moves


def largest_move(results: Sequence[Result]) -> float:
    """By how much the both-good rate of an arm is moved at most, so that all are compared at the target KL."""
    target = _trained_target(results)
    moves = [move for label in labels_of(results) for move in _moves(results, label, target) if move is not None]
    return max(map(abs, moves), default=0.0)


def _trained_target(results: Sequence[Result]) -> float:
    return float(results[0]["arms"][0]["target_kl"])


def tilted_table(results: Sequence[Result], baseline: str) -> list[str]:
    """Both-good rates that tilting predicts at matched KL; ! where a seed's samples do not support that KL."""
    columns = [column for kl in TILTED_KLS for column in (f"KL {kl:g}", f"minus {baseline}")]
    rows = []
    for label in labels_of(results):
        cells = []
        for kl in TILTED_KLS:
            values = [curve.at(kl) for curve in tilted_curves(results, label, "both_good")]
            known = [value for value in values if value is not None]
            mark = "" if is_supported(results, label, kl) else " !"
            cells.append(mean_with_interval(known) + mark if known else "-")
            cells.append("" if label == baseline else shown(tilted_difference(results, label, baseline, kl)))
        rows.append([label, *cells])
    return [
        *markdown_table([f"predicted, {len(results)} seeds", *columns], rows),
        "",
        "*!*, and dashes in the figure: the samples of at least one seed do not support that KL, and read it too low. "
        "Predictions there are no comparison at matched KL, and are not counted below. Trained arms are: of them only "
        "the small move to the target rests on the samples.",
    ]


def is_supported(results: Sequence[Result], label: str, kl: float) -> bool:
    """Whether the samples of every seed support what tilting predicts for this objective at this KL."""
    return all(reach >= _SOLVED * kl for reach in reliable_up_to(results, label))


def tilted_difference(results: Sequence[Result], first: str, second: str, kl: float) -> Difference | None:
    """`first` minus `second` in the both-good rate that tilting predicts at a matched KL, paired by seed."""
    mine, theirs = (tilted_curves(results, label, "both_good") for label in (first, second))
    return matched_difference(mine, theirs, kl)


def best_of_k_table(results: Sequence[Result], baseline: str) -> tuple[list[str], list[int]]:
    """Both-good rates of best-of-k, then `baseline` minus each other setting, paired by seed; and the stored k."""
    labels = labels_of(results)
    ks = [int(point["k"]) for point in results[0]["tilted"][labels[0]]["best_of_k"]]
    levels = [[str(k), *(mean_with_interval(best_of_k_rates(results, label, k)) for label in labels)] for k in ks]
    others = [label for label in labels if label != baseline]
    paired = [
        [f"k = {k}", *(shown(best_of_k_difference(results, baseline, other, k)) for other in others)]
        for k in ks[1:]  # all objectives agree on the best of one
    ]
    return [
        *markdown_table([f"k, {len(results)} seeds", *labels], levels, align="r" + "l" * len(labels)),
        "",
        *markdown_table([f"{baseline} minus", *others], paired, align="r" + "l" * len(others)),
    ], ks


def best_of_k_rates(results: Sequence[Result], label: str, k: int) -> list[float]:
    """Both-good rate of best-of-k, one per seed."""
    rows = (result["tilted"][label]["best_of_k"] for result in results)
    return [float(next(point["both_good"] for point in row if point["k"] == k)) for row in rows]


def best_of_k_difference(results: Sequence[Result], first: str, second: str, k: int) -> Difference | None:
    """`first` minus `second` in the both-good rate at one k, paired by seed."""
    return paired_difference(best_of_k_rates(results, first, k), best_of_k_rates(results, second, k))


def coefficient_table(results: Sequence[Result], labels: Mapping[str, str], metrics: Mapping[str, Metric]) -> list[str]:
    """What each KL coefficient gave: per objective and target KL, in order of gamma."""
    header = [f"objective, {len(results)} seeds", "target KL", "gamma, smallest to largest", "KL", *metrics]
    rows = []
    for (label, words), target in product(labels.items(), targets_of(results)):
        arms = near_target(results, label, target)
        gammas = sorted(float(arm["gamma"]) for arm in arms)
        cells = [f"{target:g}", f"{gammas[0]:.3g} to {gammas[-1]:.3g}"]
        cells.append(mean_with_interval([float(arm["kl"]) for arm in arms]))
        cells += [mean_with_interval([metric(arm) for arm in arms]) for metric in metrics.values()]
        rows.append([words, *cells])
    return markdown_table(header, rows, align="lrll" + "l" * len(metrics))


def coefficient_verdict(results: Sequence[Result], labels: Mapping[str, str]) -> str:
    """Whether KL falls as gamma grows, and how different the objectives' scales are."""
    falling = steps = 0
    for result, label in product(results, labels):
        kls = [
            float(arm["kl"])
            for arm in sorted(result["arms"], key=lambda arm: float(arm["gamma"]))
            if arm["objective"] == label
        ]
        steps += max(len(kls) - 1, 0)
        falling += sum(after < before for before, after in pairwise(kls))
    by_target = [
        [float(arm["gamma"]) for label in labels for arm in near_target(results, label, target)]
        for target in targets_of(results)
    ]
    ratios = [max(gammas) / min(gammas) for gammas in by_target]
    return (
        f"*We find* that the measured KL falls in {falling} of {steps} steps to the next larger gamma. At one target "
        f"KL the gammas of these objectives and seeds differ by up to a factor of {max(ratios):.1f}: arms of equal "
        "gamma have different KLs, so every other section compares at matched KL."
    )
