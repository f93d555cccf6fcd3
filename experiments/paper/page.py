"""docs/results/paper.md: figure by figure, what the paper claims as we understand it, and what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.paper.ablation_sections import aggregation, best_of_k, reference_points
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


def write_page(study: Path, stored: Path, folder: Path) -> None:
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
    with atomic_path(folder / "paper.md") as temporary:
        temporary.write_text("\n\n".join([HEAD.strip(), _in_short(sections), *sections]) + "\n", encoding="utf-8")


def _in_short(sections: Sequence[str]) -> str:
    """The first finding of every section, under its title."""
    lines = ["## In short", ""]
    for section in sections:
        title, *rest = section.splitlines()
        found = next((line[line.index(FOUND) :] for line in rest if FOUND in line), "Not run yet.")
        lines.append(f"* **{title.removeprefix('## ')}**: {found}")
    return "\n".join(lines)
