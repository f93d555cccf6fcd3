"""docs/results/paper.md: figure by figure, what the paper claims as we understand it, and what was measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.map.stored import Map
from experiments.open_world.design import Point
from experiments.open_world.stored import Seed
from experiments.paper.ablation_sections import aggregation, best_of_k, reference_points
from experiments.paper.claims import claims_table
from experiments.paper.parts import PARTS
from experiments.paper.stored import load_results
from experiments.paper.trained_sections import both_properties, kl_coefficient, shortcuts, single_property, underfitting
from pipelines.output.files import atomic_path
from pipelines.output.stamp import refuse_mixed

FOUND = "*We find*"
HEAD = """# The paper's experiments on the embedded world

Made by `make paper`; `python -m experiments.paper --only-write` draws it again from the stored numbers. What the paper
claims is reported as we understand it (Wang et al. 2024); what is measured here is measured on
[the embedded world](../explanation/world.md) with shortcuts, which tests mechanisms and not language: 300 test prompts
x 4 samples per policy (evaluator 2: 2 samples; `--fast` has fewer of all). Objectives are compared at matched KL, never
at equal gamma: curves of several arms are interpolated per seed, and where an objective has a single arm, it is moved
along its own tilt. Intervals are 95 % t-intervals over seeds; *detectable* is the smallest true difference that these
seeds would have shown with power 0.8. Under each figure *we find* says in how many comparisons the claim holds, and
where it does not.
"""


@dataclass(frozen=True)
class Elsewhere:
    """What the table of claims shows besides: the map, and the stored seeds of the open world."""

    map: Map
    open_world: Mapping[Point, Sequence[Seed]]


def write_page(study: Path, stored: Path, elsewhere: Elsewhere, folder: Path) -> None:
    """Write paper.md and its figures into `folder` from the numbers in `study` and `stored`. A part not run is said."""
    both = load_results(study, "seed_*_on.json")
    parts = {name: load_results(stored / name) for name in PARTS}
    folders = {str(study): both, **{str(stored / name): found for name, found in parts.items()}}
    refuse_mixed({place: found[0] for place, found in folders.items() if found})
    sections = [
        both_properties(both, folder),
        single_property("helpful", parts["single_helpful"], folder),
        single_property("harmless", parts["single_harmless"], folder),
        kl_coefficient(both, folder),
        underfitting(both, parts, folder),
        shortcuts(both, parts, folder),
        aggregation(parts["aggregation"], folder),
        best_of_k(parts["aggregation"], folder),
        reference_points(parts["reference"], folder),
    ]
    claims = "\n".join(claims_table(_findings(sections), elsewhere.map, elsewhere.open_world))
    with atomic_path(folder / "paper.md") as temporary:
        temporary.write_text("\n\n".join([HEAD.strip(), claims, *sections]) + "\n", encoding="utf-8")


def _findings(sections: Sequence[str]) -> dict[str, str]:
    """The first finding of every section, by its title."""
    found = {}
    for section in sections:
        title, *rest = section.splitlines()
        finding = next((line[line.index(FOUND) :] for line in rest if FOUND in line), "Not run yet.")
        found[title.removeprefix("## ")] = finding
    return found
