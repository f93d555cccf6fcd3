"""Exploratory, after the outcome: why a prediction by tilting was missed. Stored per seed, for the page.

python -m experiments.open_world.exploration [--folder runs/open_world]

Asks two things of the arms of the primary contrast, on validation prompts. Does the prediction depend on the number of
samples? And does a trained policy have as many all-good responses as the tilt that reaches the same mean utility? Needs
the folder in which `experiments.open_world` made its models.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from torch import Tensor

from allgood.tilting import solve_gamma, tilt
from experiments.open_world.__main__ import STORED
from experiments.open_world.analysis import arm_of, prediction_of
from experiments.open_world.design import LSC, PRIMARY_KLS
from experiments.open_world.models import Scale, prediction_config, seed_config
from experiments.open_world.objectives import with_parameter
from experiments.open_world.predictions import ALL_GOOD, Sampled
from experiments.open_world.settings import SETTINGS
from experiments.open_world.stored import Seed
from experiments.script import experiment

Entry = dict[str, Any]


def explore(seed: Seed, folder: Path) -> Entry:
    """Both answers for one seed of `strong`: `by_samples` and `at_equal_utility`, of every arm that is trained."""
    prediction = prediction_config(seed_config(Scale(SETTINGS), folder, seed.point, seed.seed), Scale(SETTINGS))
    sampled = Sampled.of(prediction, "validation")
    good = sampled.values[ALL_GOOD]
    by_samples, at_equal_utility = [], []
    for objective in (LSC, *sorted(set(seed.predictions["rivals"].values()))):
        for kl in PRIMARY_KLS:
            arm, predicted = arm_of(seed, objective, kl), prediction_of(seed, objective, kl)
            if arm is None or predicted is None:
                continue
            head = {"objective": objective, "target_kl": kl}
            utilities = sampled.utilities(with_parameter(prediction, objective, predicted["parameter"]))
            by_samples.append(head | {"all_good": rates_by_samples(utilities, good, kl)})
            utility = float(arm["curve"][-1]["utility"])
            trained = {"kl": arm["curve"][-1]["kl"], "utility": utility, "all_good": arm["validation_both_good_rate"]}
            at_equal_utility.append(head | {"trained": trained, "tilt": tilt_at_utility(utilities, good, utility)})
    return {"seed": seed.seed, "by_samples": by_samples, "at_equal_utility": at_equal_utility}


def rates_by_samples(utilities: Tensor, good: Tensor, target_kl: float) -> dict[str, float]:
    """The tilt's all-good rate at the KL from a quarter, half and all of the samples, by their number; means of parts.

    Args:
        utilities: [prompts, samples], nats.
        good: [prompts, samples], 1 where a response is good in all properties.
        target_kl: Nats.
    """
    total = utilities.shape[1]
    found = {}
    for size in (total // 4, total // 2, total):
        parts = [
            (utilities[:, start : start + size], good[:, start : start + size])
            for start in range(0, total - size + 1, size)
        ]
        rates = [float(tilt(part, solve_gamma(part, target_kl)).expect(of_part).mean()) for part, of_part in parts]
        found[str(size)] = round(float(np.mean(rates)), 5)
    return found


def tilt_at_utility(utilities: Tensor, good: Tensor, utility: float) -> dict[str, float] | None:
    """KL and all-good rate of the tilt whose mean utility is `utility`; None where no gamma gives it.

    Args:
        utilities: [prompts, samples], nats.
        good: [prompts, samples], 1 where a response is good in all properties.
        utility: Nats, mean over prompts.
    """

    def excess(log_gamma: float) -> float:
        return float(tilt(utilities, math.exp(log_gamma)).expect(utilities).mean()) - utility

    low, high = math.log(1e-3), math.log(1e3)
    if not excess(low) > 0 > excess(high):
        return None
    tilted = tilt(utilities, math.exp(brentq(excess, low, high, xtol=1e-6)))
    return {"kl": round(float(tilted.kl.mean()), 4), "all_good": round(float(tilted.expect(good).mean()), 5)}


def main() -> None:
    """Write a file per seed of `strong`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/open_world"))
    folder = parser.parse_args().folder
    for seed in STORED.seeds("strong"):
        if seed.arms:
            STORED.write(STORED.exploration(seed.point, seed.seed), explore(seed, folder))


if __name__ == "__main__":
    with experiment():
        main()
