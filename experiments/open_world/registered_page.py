"""The preregistration for a reader: rules, worlds, and the predictions, from what is stored when it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actors.tables import markdown_table
from experiments.open_world.analysis import best_raw, predicted_difference
from experiments.open_world.design import LABELS, POINTS, PRIMARY_KLS, RULES, predicted_arms
from experiments.open_world.page_contrasts import shown
from experiments.open_world.page_levels import worlds_section
from experiments.open_world.stored import Entry, Seed, Stored
from pipelines.output.files import atomic_path


def write_registered(stored: Stored, path: Path) -> None:
    """Write the preregistration in words."""
    points = {point: stored.seeds(point) for point in POINTS}
    parts = [HEAD, *[f"* **{name}**: {rule}." for name, rule in RULES.items()], ""]
    for point, seeds in points.items():
        parts += [f"## Predictions, `{point}`\n", *_predictions(seeds)]
    parts += ["## Worlds and reward models\n", *worlds_section(points)]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


HEAD = """# Preregistration: trained policies in the open world

Written by `python -m experiments.open_world --preregister` and committed before any arm was trained; the same in
[`preregistration.json`](preregistration.json), with the hashes of the worlds and of the
[stored predictions](../../docs/results/data/open_world), which training checks. A seed that is predicted later is added
before any of its arms is trained; nothing else changes. The outcome: [open_world.md](../../docs/results/open_world.md).

## Rules
"""


def _predictions(seeds: Sequence[Seed]) -> list[str]:
    if not seeds:
        return ["None yet.\n"]
    columns = [f"seed {seed.seed}" for seed in seeds]
    rows = []
    for arm in predicted_arms():
        cells = []
        for seed in seeds:
            (entry,) = (
                one
                for one in seed.predictions["arms"]
                if (one["objective"], one["target_kl"]) == (arm.objective, arm.target_kl)
            )
            cells.append(_cell(entry))
        rows.append([LABELS[arm.objective], f"{arm.target_kl:g}", *cells])
    chosen = "; ".join(
        f"seed {seed.seed}: {', '.join(f'{LABELS[name]} at {kl}' for kl, name in seed.predictions['rivals'].items())}, "
        f"best other {LABELS[seed.predictions['best_other']]}"
        for seed in seeds
    )
    differences = [
        f"* LSC sum minus the best raw sum at {kl:g} nats: {shown(predicted_difference(seeds, best_raw(kl), kl))}"
        for kl in PRIMARY_KLS
    ]
    return [
        "All-good rate at the target KL on test prompts [95 % over prompts], and the gamma to train with. *!*: the "
        "samples are too few for that KL; –: they cannot show it at all, and the arm is not trained.\n",
        *markdown_table(["objective", "KL", *columns], rows, align="lr" + "l" * len(columns)),
        "",
        f"Best raw sum by validation prompts: {chosen}.\n",
        *differences,
        "",
    ]


def _cell(entry: Entry) -> str:
    if entry["gamma"] is None:
        return "–"
    value, low, high = entry["predicted"]["all_good"]
    mark = "" if entry["reliable"] else " !"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]{mark}, {entry['gamma']:.3g}"
