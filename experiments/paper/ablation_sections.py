"""Sections of the page on what was varied at one target KL, and by tilting over all: aggregation, reference points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.paper.figures import best_of_k_figure, tilting_figure
from experiments.paper.parts import AGGREGATION, DEFAULT, REFERENCE
from experiments.paper.section import section, shortcut_rate
from experiments.paper.stored import Result, labels_of
from experiments.paper.tables import (
    TILTED_KLS,
    Compared,
    best_of_k_difference,
    best_of_k_table,
    convergence,
    is_supported,
    largest_move,
    tilted_difference,
    tilted_table,
    trained_difference,
    trained_table,
    verdict,
    verdict_without_claim,
)

SAME_ORDER = "logit of product"  # an increasing function of the default's sum, to which best-of-k is blind


def aggregation(results: Sequence[Result], folder: Path) -> str:
    """Ways of combining properties: trained at one target KL, and predicted over all."""
    lines = section(
        "Aggregation",
        "Adding log-sigmoids is the log-probability that all properties are good, an AND. The logit of the product is "
        "the same AND without diminishing utility, and so separates the two effects. If both help, the sum of "
        "log-sigmoids lies above every other aggregation.",
        results,
        asks=AGGREGATION.asks,
    )
    if results:
        metrics = {"both good": "both_good", "lists": "lists", "consult": "consult"}
        lines += [
            *_figure_and_tables(results, metrics, folder / "paper_aggregation.png"),
            "",
            verdict(_against_default(results, sign=-1)),
            "",
            "The AND alone, logit of product over raw sum: " + verdict(_between(results, SAME_ORDER, "raw sum")),
            *convergence(results, _own_names(results)),
        ]
    return "\n".join(lines)


def best_of_k(results: Sequence[Result], folder: Path) -> str:
    """The same ways as rankers of samples of the SFT policy."""
    lines = section(
        "Best-of-k",
        "With several rewards the transform changes the ranking, so that best-of-k tests the aggregation alone; the "
        "sum of log-sigmoids improves it.",
        results,
    )
    if results:
        metrics = {"both good": "both_good", "good, helpful": "good.helpful", "good, harmless": "good.harmless"}
        best_of_k_figure(results, metrics, folder / "paper_best_of_k.png")
        rows, ks = best_of_k_table(results, DEFAULT)
        compared = [
            Compared(f"{other}, k = {k}", best_of_k_difference(results, DEFAULT, other, k))
            for other in labels_of(results)
            if other not in (DEFAULT, SAME_ORDER)
            for k in ks[1:]  # all objectives agree on the best of one
        ]
        lines += [
            f"![Best-of-k from {ks[-1]} samples of the SFT policy per test prompt](paper_best_of_k.png)",
            "",
            f"Both good ({SAME_ORDER} grows with the sum of log-sigmoids, so that both select the same answers; it is "
            "not counted below):",
            "",
            *rows,
            "",
            f"{DEFAULT} over each other objective: {verdict(compared)}",
        ]
    return "\n".join(lines)


def reference_points(results: Sequence[Result], folder: Path) -> str:
    """Reference points: trained at one target KL, and predicted over all."""
    lines = section(
        "Reference points",
        "The reference value is a modelling choice that the paper discusses; an ablation of it is our own experiment.",
        results,
        asks=REFERENCE.asks,
    )
    if results:
        metrics = {"both good": "both_good", "good, helpful": "good.helpful", "good, harmless": "good.harmless"}
        lines += [
            *_figure_and_tables(results, metrics, folder / "paper_reference.png"),
            "",
            verdict_without_claim(_against_default(results), DEFAULT),
            *convergence(results, _own_names(results)),
        ]
    return "\n".join(lines)


def _figure_and_tables(results: Sequence[Result], metrics: Mapping[str, str], path: Path) -> list[str]:
    tilting_figure(results, metrics, path)
    shortcuts = {name: shortcut_rate(name) for name in ("lists", "consult")}
    target = results[0]["arms"][0]["target_kl"]
    return [
        f"![Predicted by tilting (lines) and trained at one target KL (dots)]({path.name})",
        "",
        f"Trained at a target KL of {target:g}. The measured KLs differ: for differences each arm is moved to "
        f"{target:g} along the curve that tilting predicts for its objective, which changes its rate by at most "
        f"{largest_move(results):.3f}.",
        "",
        *trained_table(results, DEFAULT, shortcuts),
        "",
        "Both good as tilting predicts it, at matched KL:",
        "",
        *tilted_table(results, DEFAULT),
    ]


def _against_default(results: Sequence[Result], *, sign: int = 1) -> list[Compared]:
    """Every other setting minus the default, trained and predicted."""
    others = [label for label in labels_of(results) if label != DEFAULT]
    return [case for other in others for case in _between(results, other, DEFAULT, sign=sign)]


def _between(results: Sequence[Result], first: str, second: str, *, sign: int = 1) -> list[Compared]:
    trained = Compared(f"{first}, trained", trained_difference(results, first, second), sign)
    predicted = [
        Compared(f"{first}, predicted at KL {kl:g}", tilted_difference(results, first, second, kl), sign)
        for kl in TILTED_KLS
        if is_supported(results, first, kl) and is_supported(results, second, kl)
    ]
    return [trained, *predicted]


def _own_names(results: Sequence[Result]) -> dict[str, str]:
    return {label: label for label in labels_of(results)}
