"""Tables of levels: predicted alongside trained, other measures, convergence, and what worlds and models are like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from actors.tables import markdown_table
from experiments.open_world.analysis import all_good, arm_of, level_at, prediction_of
from experiments.open_world.design import LABELS, WIDE_KLS, PlannedArm, Point, predicted_arms
from experiments.open_world.metrics import EXPLAINED, GOLD_WINS, METRICS
from experiments.open_world.stored import Entry, Seed
from experiments.study.convergence import mean_change
from experiments.study.flatness import MAX_CHANGE, is_flat

Points = Mapping[Point, Sequence[Seed]]


def levels_section(seeds: Sequence[Seed], point: Point) -> list[str]:
    """Every objective at every target: all-good rate and gold win rate, predicted and trained, means over seeds."""
    all_good_columns = ("all good: map", "predicted", "trained")
    header = ("objective", "KL", *all_good_columns, "gold win rate: predicted", "trained", "seeds")
    rows = [
        [
            LABELS[arm.objective],
            f"{arm.target_kl:g}",
            _mean([_on_the_map(seed, arm) for seed in seeds]),
            _predicted(seeds, arm, "all_good"),
            _mean([level_at(seed, arm.objective, arm.target_kl, all_good) for seed in seeds]),
            _predicted(seeds, arm, "gold_win_rate"),
            _mean([level_at(seed, arm.objective, arm.target_kl, GOLD_WINS.read) for seed in seeds]),
            str(sum(arm_of(seed, arm.objective, arm.target_kl) is not None for seed in seeds)),
        ]
        for arm in _arms()
        if seeds and arm in predicted_arms()
    ]
    if not rows:
        return ["Not predicted yet.\n"]
    table = markdown_table(header, rows, align="lr" + "r" * 6)
    start = _mean([float(np.mean(all_good(seed.start))) for seed in seeds if seed.start is not None])
    return [
        f"All-good rate of the start policy on test prompts: {start}. Means over seeds. *Map*: its numbers for a world "
        "with the measured coordinates. *!*: the samples of at least one seed are too few for that KL. Trained: at the "
        "target KL, over the seeds in the last column, whose arm is there.\n",
        *table,
        "",
    ]


def more_section(points: Points) -> list[str]:
    """The other measures at every target, means over seeds."""
    rows = []
    for point, seeds in points.items():
        for arm in _arms():
            trained = [seed for seed in seeds if arm_of(seed, arm.objective, arm.target_kl) is not None]
            if trained:
                cells = [
                    _mean([level_at(seed, arm.objective, arm.target_kl, metric.read) for seed in trained])
                    for metric in METRICS
                ]
                rows.append([point, LABELS[arm.objective], f"{arm.target_kl:g}", *cells])
    if not rows:
        return ["Not trained yet.\n"]
    header = ("point", "objective", "KL", *(metric.name for metric in METRICS))
    return [EXPLAINED, "", *markdown_table(header, rows, align="llr" + "r" * len(METRICS)), ""]


def convergence_section(points: Points) -> list[str]:
    """Gamma, measured KL, change in the last quarter and efficiency of every arm; which runs were not flat."""
    rows, all_arms, moving = [], [], []
    for point, seeds in points.items():
        for arm in _arms():
            arms = [(seed, one) for seed in seeds if (one := arm_of(seed, arm.objective, arm.target_kl)) is not None]
            if arms:
                rows.append([point, LABELS[arm.objective], f"{arm.target_kl:g}", *_training([one for _, one in arms])])
                all_arms += [one for _, one in arms]
                moving += [
                    f"{point} {seed.seed}: {LABELS[arm.objective]} at {arm.target_kl:g}"
                    for seed, one in arms
                    if not is_flat(one["change"])
                ]
    if not rows:
        return ["Not trained yet.\n"]
    header = (
        "point",
        "objective",
        "target KL",
        "gamma",
        "KL",
        "steps",
        "change of KL",
        "change of utility gain",
        "efficiency",
    )
    counted = (
        f"{len(all_arms) - len(moving)} of {len(all_arms)} runs are flat: KL and gain in utility on validation prompts "
        f"changed by at most {MAX_CHANGE:.0%} over the last quarter of the steps."
    )
    listed = f" Not flat (point, seed): {'; '.join(moving)}." if moving else ""
    about = (
        "Gammas are solved for a little more than the target, so that curves pass it. *Efficiency*: achieved over "
        "possible gain in utility at the measured KL, on the test prompts of the predictions. *!*: samples of at least "
        "one seed are too few for that KL, so that the possible gain reads too low."
    )
    return [counted + listed, "", about, "", *markdown_table(header, rows, align="llrrrrrrr"), ""]


def worlds_section(points: Points) -> list[str]:
    """Per seed: accuracy of the reward models, spreads and correlations within prompts, rare phrases."""
    rows = []
    for point, seeds in points.items():
        for seed in seeds:
            found = seed.predictions
            where = found["coordinates"]
            rows += [[point, str(seed.seed), name, *_models(found, where, name)] for name in where["spread"]]
    header = ("point", "seed", "property", "test accuracy", "spread of rewards, nats", "of gold", "reward and gold")
    more = ("rewards of the two", "rare phrases", "all good")
    about = (
        "Of the start policy's samples on the prompts of the predictions. *Spread*: standard deviation within a "
        "prompt, median (10 to 90 % of the prompts). Correlations are within prompts. *Rare phrases*: share of samples."
    )
    return [about, "", *markdown_table((*header, *more), rows, align="lrlrrrrrrr"), ""]


def _models(found: Entry, where: Entry, name: str) -> list[str]:
    middle, low, high = where["spread"][name]
    return [
        f"{found['accuracy'][name]:.3f}",
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        f"{where['gold_spread'][name]:.2f}",
        f"{where['reward_gold'][name]:.2f}",
        f"{np.mean(list(where['rewards'].values())):.2f}",
        f"{found['start'][f'rare.{name}']:.3f}",
        f"{found['start']['all_good']:.3f}",
    ]


def _arms() -> Iterator[PlannedArm]:
    for name in LABELS:
        for kl in WIDE_KLS:
            yield PlannedArm(name, kl)


def _on_the_map(seed: Seed, arm: PlannedArm) -> float | None:
    found = seed.predictions["map"]
    return None if found is None else float(found["all_good"][arm.objective][str(arm.target_kl)])


def _predicted(seeds: Sequence[Seed], arm: PlannedArm, value: str) -> str:
    found = [one for seed in seeds if (one := prediction_of(seed, arm.objective, arm.target_kl)) is not None]
    mark = "" if all(one["reliable"] for one in found) else " !"
    return _mean([one["predicted"][value][0] for one in found]) + mark


def _training(arms: Sequence[Entry]) -> list[str]:
    known = [arm["efficiency"] for arm in arms if arm["efficiency"]["value"] is not None]
    mark = "" if all(one["reliable"] for one in known) else " !"
    return [
        f"{np.mean([arm['gamma'] for arm in arms]):.3g}",
        f"{np.mean([arm['kl'] for arm in arms]):.2f}",
        ", ".join(sorted({str(arm["steps"]) for arm in arms})),
        mean_change([arm["change"]["kl"] for arm in arms]),
        mean_change([arm["change"]["utility"] for arm in arms]),
        f"{np.mean([one['value'] for one in known]):.2f}{mark}" if known else "–",
    ]


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "–"
