"""The page of the study, from whatever is stored: true with one seed, with none trained, and with all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from allgood.errors import DataError
from experiments.open_world.design import Point, planned_arms
from experiments.open_world.figures import curves_figure
from experiments.open_world.page_contrasts import primary_section, secondary_section, surprises
from experiments.open_world.page_levels import convergence_section, levels_section, more_section, worlds_section
from experiments.open_world.page_reasons import reasons_section
from experiments.open_world.stored import Seed, Stored
from pipelines.output.files import atomic_path

PAGE, FIGURE = "open_world.md", "open_world.png"
FINDINGS = Path(__file__).with_name("findings.md")
REGISTERED = "../../experiments/open_world/preregistration.md"

Points = dict[Point, list[Seed]]


def write_page(stored: Stored, folder: Path) -> None:
    """Write open_world.md and its figure into `folder`.

    Raises:
        DataError: Nothing is stored.
    """
    points = stored.points()
    if not any(points.values()):
        raise DataError("there are no stored numbers of the open world yet; run `make open-world ARGS=--predict` first")
    with atomic_path(folder / FIGURE) as temporary:
        temporary.write_bytes(curves_figure(points))
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text(page_of(points), encoding="utf-8")


def page_of(points: Points) -> str:
    """The page as Markdown."""
    strong, weak = points["strong"], points["weak"]
    parts = [_head(points), *primary_section(strong), *surprises(strong), *_findings(), *reasons_section(strong)]
    parts += ["![All-good rate against KL, predicted and trained, at both points](" + FIGURE + ")\n"]
    parts += ["## Point strong\n", *levels_section(strong, "strong"), *secondary_section(strong, "strong")]
    parts += ["## Point weak\n", *levels_section(weak, "weak"), *secondary_section(weak, "weak")]
    parts += ["## Other measures\n", *more_section(points), "## Training\n", *convergence_section(points)]
    parts += ["## Worlds and reward models\n", *worlds_section(points)]
    return "\n".join(parts).rstrip() + "\n"


def _head(points: Points) -> str:
    return f"""# Trained policies in the open world, predicted first

Made by `make open-world`; `python -m experiments.open_world --only-write` draws it again from
[the stored numbers](data/open_world). What is compared, how, and what was predicted of each arm was
[fixed and committed]({REGISTERED}) before any arm was trained. The two points of the
[open world](../explanation/open_world.md) differ in how strong, and how wrong, reward models get. The
[map](map.md) says that the transform matters at `strong`, and hardly at `weak`.

A seed redraws everything: world, splits, SFT policy, reward models, references, training. Differences are all-good
rates at matched KL, paired by seed. Intervals are 95 %: t over seeds, or bootstrap over test prompts where it says so.
*Predicted* is the tilt of samples of the start policy by the trained reward models, before training.

**So far**: {_progress(points)}
"""


def _progress(points: Points) -> str:
    parts = []
    for point, seeds in points.items():
        planned = [(seed, planned_arms(point, best_other=seed.predictions["best_other"])) for seed in seeds]
        gammas = [{(a["objective"], a["target_kl"]): a["gamma"] for a in seed.predictions["arms"]} for seed in seeds]
        possible = sum(
            known[arm.objective, arm.target_kl] is not None
            for known, (_, arms) in zip(gammas, planned, strict=True)
            for arm in arms
        )
        trained = sum(len(seed.arms) for seed in seeds)
        whose = "1 seed predicted" if len(seeds) == 1 else f"{len(seeds)} seeds predicted"
        arms = "its" if len(seeds) == 1 else "their"
        parts.append(f"`{point}`: {whose}" + (f", {trained} of {arms} {possible} arms trained" if seeds else ""))
    return "; ".join(parts) + "."


def _findings() -> Sequence[str]:
    """What was found out by looking, in words; exploratory, and labelled so."""
    return [FINDINGS.read_text(encoding="utf-8")] if FINDINGS.is_file() else []
