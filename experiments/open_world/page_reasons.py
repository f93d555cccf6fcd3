"""Why predictions were missed: tables of what was looked at after the outcome, labelled exploratory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from actors.tables import markdown_table
from experiments.open_world.design import LABELS
from experiments.open_world.stored import Entry, Seed

_INTRO = (
    "Of the arms of the primary contrast, on validation prompts, means over seeds "
    "(`python -m experiments.open_world.exploration`). *Tilt*: the samples of the start policy, weighted so that they "
    "reach the trained policy's mean utility; last, the tilt at the target KL from a quarter, half and all samples.\n"
)


def reasons_section(seeds: Sequence[Seed]) -> list[str]:
    """Trained policies alongside the tilt of equal utility, and the prediction by number of samples."""
    explored = [seed.exploration for seed in seeds if seed.exploration is not None]
    rows = [_row(arms) for arms in _by_arm(explored)]
    if not rows:
        return []
    header = (
        "objective",
        "target KL",
        "utility",
        "trained: KL",
        "all good",
        "tilt: KL",
        "all good",
        "by samples",
        "seeds",
    )
    table = markdown_table(header, rows, align="lrrrrrrlr")
    return ["### Exploratory: trained policies and tilts of equal utility\n", _INTRO, *table, ""]


def _by_arm(explored: Sequence[Entry]) -> Iterator[list[tuple[Entry, Entry]]]:
    """Per objective and target, what each seed says: at equal utility, and by samples."""
    of_seeds = [
        {(one["objective"], one["target_kl"]): (one, other) for one, other in zip(*_lists(entry), strict=True)}
        for entry in explored
    ]
    for key in dict.fromkeys(key for found in of_seeds for key in found):
        both = [found[key] for found in of_seeds if key in found and found[key][0]["tilt"] is not None]
        if both:
            yield both


def _lists(entry: Entry) -> tuple[list[Entry], list[Entry]]:
    return entry["at_equal_utility"], entry["by_samples"]


def _row(arms: Sequence[tuple[Entry, Entry]]) -> list[str]:
    equal, by_samples = [one for one, _ in arms], [other["all_good"] for _, other in arms]
    return [
        LABELS[equal[0]["objective"]],
        f"{equal[0]['target_kl']:g}",
        f"{_mean([one['trained'] for one in equal], 'utility'):.2f}",
        f"{_mean([one['trained'] for one in equal], 'kl'):.1f}",
        f"{_mean([one['trained'] for one in equal], 'all_good'):.3f}",
        f"{_mean([one['tilt'] for one in equal], 'kl'):.1f}",
        f"{_mean([one['tilt'] for one in equal], 'all_good'):.3f}",
        " / ".join(f"{_mean(by_samples, size):.3f}" for size in by_samples[0]),
        str(len(arms)),
    ]


def _mean(entries: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([entry[name] for entry in entries]))
