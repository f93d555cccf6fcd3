"""From stored seeds to differences at matched KL, as the preregistration says: interpolation, t over seeds, Holm.

A seed's curve goes from the start policy (KL 0) through the arms of one objective. Two curves are compared at the
target KL, or where the shorter one ends if that is near enough; nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from allgood.intervals import Interval, cluster_bootstrap
from experiments.open_world.design import LSC, NEAREST_SHARE, PlannedArm
from experiments.open_world.stored import Entry, Seed
from experiments.study.analysis import Difference, paired
from experiments.study.flatness import is_flat

Floats = NDArray[np.float64]
Values = Callable[[Mapping[str, Any]], Floats]
"""What is compared, of a stored policy: [prompts], or [1] for a number that is of all prompts together."""


@dataclass(frozen=True)
class Curve:
    """One objective on one seed: values [points, prompts] over measured KLs [points] in rising order."""

    kls: Floats
    values: Floats

    def at(self, kl: float) -> Floats:
        """[prompts], interpolated linearly; `kl` lies within the curve."""
        right = int(np.clip(np.searchsorted(self.kls, kl), 1, len(self.kls) - 1))
        left, width = right - 1, self.kls[right] - self.kls[right - 1]
        share = (kl - self.kls[left]) / width if width > 0 else 0.0
        found: Floats = (1 - share) * self.values[left] + share * self.values[right]
        return found

    @property
    def end(self) -> float:
        """The highest measured KL."""
        return float(self.kls[-1])


@dataclass(frozen=True)
class OfSeed:
    """One seed's difference between two objectives at one KL, with its interval over test prompts."""

    seed: int
    first: str
    second: str
    kl: float
    over_prompts: Interval


@dataclass(frozen=True)
class Contrast:
    """A difference at one target. `over_seeds` and `p_value` are None below two seeds.

    `left_out` are seeds whose shorter curve ends too far below the target; seeds that lack an arm are nowhere.
    """

    target_kl: float
    seeds: tuple[OfSeed, ...]
    over_seeds: Difference | None
    p_value: float | None
    left_out: int

    @property
    def mean(self) -> float | None:
        """Over seeds; None without any."""
        return float(np.mean([one.over_prompts.value for one in self.seeds])) if self.seeds else None


def all_good(policy: Mapping[str, Any]) -> Floats:
    """All-good rate by prompt."""
    return np.array(policy["by_prompt"]["all_good"])


def curve_of(seed: Seed, objective: str, values: Values = all_good) -> Curve | None:
    """The curve of an objective; None before anything of it is trained."""
    arms = [arm for arm in seed.arms.values() if arm["objective"] == objective]
    if not arms or seed.start is None:
        return None
    points = [(0.0, values(seed.start)), *((float(arm["kl"]), values(arm)) for arm in arms)]
    points.sort(key=lambda point: point[0])
    return Curve(np.array([kl for kl, _ in points]), np.stack([value for _, value in points]))


def arm_of(seed: Seed, objective: str, target_kl: float) -> Entry | None:
    """A trained arm; None where it was not trained yet."""
    return seed.arms.get(PlannedArm(objective, target_kl).name)


def contrast(
    seeds: Sequence[Seed], first: Callable[[Seed], str], second: Callable[[Seed], str], target_kl: float
) -> Contrast:
    """All-good rate of `first` minus that of `second` at a target, paired by seed; both may differ between seeds."""
    found: list[OfSeed] = []
    left_out = 0
    for seed in seeds:
        names = first(seed), second(seed)
        one, other = (curve_of(seed, name) if arm_of(seed, name, target_kl) else None for name in names)
        if one is None or other is None:
            continue
        kl = min(target_kl, one.end, other.end)
        if kl < NEAREST_SHARE * target_kl:
            left_out += 1
            continue
        interval = cluster_bootstrap(one.at(kl) - other.at(kl), seed=seed.seed)
        found.append(OfSeed(seed.seed, *names, kl, interval))
    values = np.array([one.over_prompts.value for one in found])
    is_several = len(values) > 1
    p_value = float(scipy.stats.ttest_1samp(values, 0.0).pvalue) if is_several else None
    return Contrast(target_kl, tuple(found), paired(values) if is_several else None, p_value, left_out)


def lsc_minus(seeds: Sequence[Seed], rival: Callable[[Seed], str], target_kl: float) -> Contrast:
    """The LSC sum minus a rival."""
    return contrast(seeds, lambda seed: LSC, rival, target_kl)


def best_raw(target_kl: float) -> Callable[[Seed], str]:
    """The rival of the primary contrast, as each seed's validation prompts chose it before any training."""
    return lambda seed: str(seed.predictions["rivals"][f"{target_kl:g}"])


def flat_seeds(seeds: Sequence[Seed], rival: Callable[[Seed], str], target_kl: float) -> list[Seed]:
    """Seeds whose two runs at the target were flat at their end."""
    pairs = [(seed, [arm_of(seed, name, target_kl) for name in (LSC, rival(seed))]) for seed in seeds]
    return [seed for seed, arms in pairs if all(arm is not None and is_flat(arm["change"]) for arm in arms)]


def level_at(seed: Seed, objective: str, target_kl: float, values: Values) -> float | None:
    """A mean over prompts at a target, or at the end of the curve if that is near enough; None without the arm."""
    found = curve_of(seed, objective, values)
    if found is None or arm_of(seed, objective, target_kl) is None or found.end < NEAREST_SHARE * target_kl:
        return None
    return float(found.at(min(target_kl, found.end)).mean())


def predicted_difference(seeds: Sequence[Seed], rival: Callable[[Seed], str], target_kl: float) -> Contrast:
    """The same contrast as tilting predicts it from the samples of pi_0, by prompt of the predictions."""
    found = []
    for seed in seeds:
        names = LSC, rival(seed)
        one, other = (prediction_of(seed, name, target_kl) for name in names)
        if one is None or other is None:
            continue
        difference = np.array(one["by_prompt"]) - np.array(other["by_prompt"])
        found.append(OfSeed(seed.seed, *names, target_kl, cluster_bootstrap(difference, seed=seed.seed)))
    values = np.array([one.over_prompts.value for one in found])
    return Contrast(target_kl, tuple(found), paired(values) if len(values) > 1 else None, None, 0)


def prediction_of(seed: Seed, objective: str, target_kl: float) -> Entry | None:
    """What was predicted of an arm; None where the samples cannot show its KL."""
    for arm in seed.predictions["arms"]:
        if (arm["objective"], arm["target_kl"]) == (objective, target_kl) and arm["gamma"] is not None:
            return dict(arm)
    return None


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: the k-th smallest times the number of those not smaller, never falling.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.

    >>> holm([0.04, 0.01])
    [0.04, 0.02]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]
