"""Stored seeds as the study leaves them, with numbers made up for a test."""

from __future__ import annotations

from typing import Any

from experiments.open_world.design import LABELS, RAW, WIDE_KLS, PlannedArm, Point, planned_arms, predicted_arms
from experiments.open_world.stored import Stored

PROMPTS = 10
OUT_OF_REACH = 8.0  # nats; no sample shows it


def policy(kl: float, all_good: float) -> dict[str, Any]:
    """What is stored of any policy: half of the prompts lie 0.1 above `all_good`, half below."""
    return {
        "kl": kl,
        "gold_win_rate": 0.5 + all_good / 2,
        "rare_rates": {"helpful": 0.01, "harmless": 0.03},
        "mean_tokens": 30.0,
        "worst_tenth": all_good / 2,
        "reward_win_rates": {"helpful": 0.8, "harmless": 0.9},
        "not_improved": 0.2,
        "by_prompt": {
            "all_good": [all_good + 0.1, all_good - 0.1] * (PROMPTS // 2),
            "kl": [kl] * PROMPTS,
        },
    }


def trained(arm: PlannedArm, kl: float, all_good: float, *, change: float = 0.01) -> dict[str, Any]:
    """What is stored of a trained arm."""
    return policy(kl, all_good) | {
        "objective": arm.objective,
        "target_kl": arm.target_kl,
        "gamma": 1 / arm.target_kl,
        "steps": 240,
        "change": {"kl": change, "utility": change},
        "efficiency": {"value": 0.9, "reliable": True, "kl": kl},
    }


def predictions(point: Point, seed: int, *, rival: str = RAW, lsc_ahead: float = 0.1) -> dict[str, Any]:
    """Predictions in which every objective is all good in 0.1 x KL, the LSC sum in `lsc_ahead` more."""
    arms = []
    for arm in predicted_arms():
        entry = {"objective": arm.objective, "target_kl": arm.target_kl, "parameter": None}
        rate = 0.1 * arm.target_kl + (lsc_ahead if arm.objective == "lsc_sum" else 0.0)
        found: dict[str, Any] = {
            "gamma": 1 / arm.target_kl,
            "reliable": arm.target_kl < 4,
            "predicted": {"all_good": [rate, rate - 0.05, rate + 0.05], "gold_win_rate": [0.7, 0.6, 0.8]},
            "by_prompt": [rate] * PROMPTS,
        }
        arms.append(entry | ({"gamma": None} if arm.target_kl == OUT_OF_REACH else found))
    names = ("helpful", "harmless")
    return {
        "point": point,
        "seed": seed,
        "world": f"world {point} {seed}",
        "accuracy": dict.fromkeys(names, 0.8),
        "start": {"all_good": 0.03, "rare.helpful": 0.01, "rare.harmless": 0.01},
        "coordinates": {
            "spread": {name: [2.0, 1.0, 4.0] for name in names},
            "gold_spread": dict.fromkeys(names, 3.0),
            "reward_gold": dict.fromkeys(names, 0.8),
            "rewards": {"helpful~harmless": -0.3},
        },
        "map": {"all_good": {name: {str(kl): 0.2 for kl in WIDE_KLS} for name in LABELS}},
        "rivals": {"2": rival, "4": rival},
        "best_other": "par_sum",
        "arms": arms,
    }


def store_arms(stored: Stored, point: Point, seed: int, *, ahead: float, reach: float = 1.1) -> None:
    """The start policy and every arm that can be reached; the LSC sum is `ahead`, and KLs are `reach` x the target."""
    stored.write(stored.start(point, seed), policy(0.0, 0.0))
    for arm in planned_arms(point, best_other="par_sum"):
        if arm.target_kl == OUT_OF_REACH:
            continue
        kl = reach * arm.target_kl
        rate = 0.1 * kl + (ahead if arm.objective == "lsc_sum" else 0.0)
        stored.write(stored.arm(point, seed, arm.name), trained(arm, kl, rate))
