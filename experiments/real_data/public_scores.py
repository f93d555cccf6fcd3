"""Strong reward models: coordinates from scores per answer that two public repositories store.

* `reward-modeling-develop` (github.com/HahmDY/reward-modeling-develop): rewards of samples of one policy, the SFT model
  of that project (Qwen3 4B, AlpacaFarm, temperature 1), by Skywork-Reward-V2-Llama-3.1-8B, and by 4B reward models that
  were trained on its choices.
* `reward-bench` (github.com/allenai/reward-bench): 16 samples of Tulu-2-dpo-13b for each prompt of AlpacaEval, judged
  by GPT-4, and how the best of 16 by six public reward models fares.

Only the numbers in those files are used, and only aggregates are kept.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, ndtr, polygamma
from scipy.stats import kurtosis, norm, skew

from allgood.errors import DataError
from experiments.real_data.coordinates import Indices, Spreads, correlation, intervals
from experiments.real_data.normal_world import OVERRATED_BY

Floats = NDArray[np.float64]

COMMITS = {
    "reward-modeling-develop": "a4ef4bc42dae0e85fa8fd10c399d95d11b15e7ab",
    "reward-bench": "4319b3194d8772d0efb54c8b949ffdf87b4ccbd3",
}
"""What was read; files of 4 MiB and more, among them 5 of the 16 files of judgements, were not in our copy."""
REWARDS = Path("reward-modeling-develop/datasets/alpacafarm")
SAMPLED = REWARDS / "distribution/Hahmdong_RMOOD-qwen3-4b-alpacafarm-rm"
JUDGED = Path("reward-bench/bon_eval")
JUDGEMENTS = JUDGED / "alpaca_eval_n=16/annotations/annotations_ref=GPT35t"
TRAINED = {"4B, Bradley-Terry": "rm", "4B, centred": "rm-center"}
BEST_OF = 16
SURE = 1e-6  # judgements nearer to 0 or 1 are taken as this far from it
FAR = 3.0  # spreads


def public_coordinates(folder: Path, *, seed: int) -> dict[str, Any]:
    """Everything that the page says of strong reward models.

    Raises:
        DataError: `folder` lacks a checkout of either repository.
    """
    for name, commit in COMMITS.items():
        if not (folder / name).is_dir():
            raise DataError(f"{folder} lacks {name}; clone it there and check out {commit}")
    labels = _read_array(folder / REWARDS / "rm/rm_rewards.json")
    tested = {name: _test_rewards(folder, file) for name, file in {"labeller": "gold", **TRAINED}.items()}
    return {
        "labeller": _of_pairs(labels, seed=seed),
        "trained": {
            name: _of_pairs(tested[name], seed=seed) | _against(tested[name], tested["labeller"], seed=seed)
            for name in TRAINED
        },
        "many_samples": _of_many([_read_array(path)[0] for path in sorted((folder / SAMPLED).glob("reward_*.json"))]),
        "judged": _judged(folder, seed=seed),
    }


def _of_pairs(rewards: Floats, *, seed: int) -> dict[str, Any]:
    """Spreads from two samples per prompt, [prompts, 2]; prompts whose two rewards are equal have no logarithm."""
    difference = rewards[:, 0] - rewards[:, 1]
    squares = difference**2
    logs = np.log(abs(difference[difference != 0]))
    chance = polygamma(1, 0.5) / 4  # variance of the log of the size of a normal number

    def spread(prompts: Indices) -> float:
        return float(np.sqrt(squares[prompts].mean() / 2))

    def sigma(prompts: Indices) -> float:
        """If differences are normal given the spread, and spreads log-normal."""
        ratio = (squares[prompts] ** 2).mean() / (3 * squares[prompts].mean() ** 2)
        return float(np.sqrt(max(0.0, np.log(ratio) / 4)))

    found = intervals({"spread": spread, "sigma": sigma}, len(rewards), seed=seed)
    return found | {
        "prompts": len(rewards),
        "equal": float((difference == 0).mean()),
        "sigma_of_logs": float(np.sqrt(max(0.0, logs.var() - chance))),
    }


def _against(rewards: Floats, gold: Floats, *, seed: int) -> dict[str, Any]:
    """How a reward model errs against the model whose choices it was trained on, within prompts."""
    own, other = rewards[:, 0] - rewards[:, 1], gold[:, 0] - gold[:, 1]
    errors = own - (own @ other) / (other @ other) * other
    scaled = errors / errors.std()
    return intervals({"correlation": correlation(rewards, gold)}, len(rewards), seed=seed) | {
        "agreement": float((0.5 + 0.5 * np.sign(own) * np.sign(other)).mean()),
        "error_kurtosis": 2 * float(kurtosis(errors)),  # of one answer: a difference of two has half of it
        "largest_error": float(abs(scaled).max()),
    }


def _of_many(rewards: list[Floats]) -> dict[str, Any]:
    """Shape of rewards within prompts of which there are hundreds of samples."""
    grid = np.stack(rewards)
    spreads = Spreads.of(grid, seed=0)
    prompts = np.arange(len(grid))
    standard = (grid - grid.mean(1, keepdims=True)) / grid.std(1, keepdims=True)
    reach = standard.max(1) - np.quantile(standard, 0.85, axis=1)
    num_far = int((standard > FAR).sum())
    return {
        "prompts": len(grid),
        "samples": grid.shape[1],
        "typical": spreads.typical(prompts),
        "sigma": spreads.sigma(prompts),
        "skewed_left": int((skew(grid, axis=1) < 0).sum()),
        "median_skew": float(np.median(skew(grid, axis=1))),
        "reach": {"median": float(np.median(reach)), "low": float(reach.min()), "high": float(reach.max())},
        "normal_reach": _expected_best(grid.shape[1]) - float(norm.ppf(0.85)),
        "far_above": num_far,
        "expected_far": 0.01 * grid.size * _seen_if_overrated(),
        "most_overrated": (num_far + 3) / (grid.size * _seen_if_overrated()),  # 95 % bound for none, about so for few
    }


def _judged(folder: Path, *, seed: int) -> dict[str, Any]:
    """GPT-4 on samples of one policy, and what the best of 16 by a reward model gains in its judgement.

    A reward with correlation c to the judgement within prompts gains c times the judgement's spread times what the best
    of 16 normal numbers has over their mean.
    """
    shares = _judgements(folder / JUDGEMENTS)
    logits = logit(np.clip(shares, SURE, 1 - SURE))
    varied = logits[[len(set(row)) > shares.shape[1] // 2 + 1 for row in logits]]  # the judge is not always sure
    spreads = Spreads.of(varied, seed=seed)
    with (folder / JUDGEMENTS / "merged_leaderboard.csv").open(encoding="utf-8") as file:
        wins = [float(row["win_rate"]) / 100 for row in csv.DictReader(file)]
    chosen = json.loads((folder / JUDGED / "bon_eval_results.json").read_text(encoding="utf-8"))
    per_correlation = float(np.sqrt(np.nanvar(shares, axis=1, ddof=1).mean())) * _expected_best(BEST_OF)
    found = intervals({"typical": spreads.typical, "sigma": spreads.sigma}, len(varied), seed=seed)
    return found | {
        "prompts": len(varied),
        "judged": shares.shape[1],
        "correlation": {
            name: {
                "value": (row["win_rate"] / 100 - float(np.mean(wins))) / per_correlation,
                "error": row["standard_error"] / 100 / per_correlation,
            }
            for name, row in chosen.items()
            if not name.startswith("random")
        },
    }


def _judgements(folder: Path) -> Floats:
    """Probability that the judge prefers a sample to one fixed answer, [prompts, samples] of the files there are."""
    columns = []
    for path in sorted(folder.glob("*/weighted_alpaca_eval_gpt4_turbo/annotations.json")):
        rows: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        is_second = [str(row["generator_2"]).startswith("allenai/") for row in rows]
        columns.append(
            [
                row["preference"] - 1 if second else 2 - row["preference"]
                for row, second in zip(rows, is_second, strict=True)
            ]
        )
    return np.array(columns, dtype=np.float64).T


def _test_rewards(folder: Path, name: str) -> Floats:
    """[prompts, 2]."""
    rows = json.loads((folder / REWARDS / f"rm/test_reward_{name}.json").read_text(encoding="utf-8"))
    return np.array([[row["reward_1"], row["reward_2"]] for row in rows], dtype=np.float64)


def _read_array(path: Path) -> Floats:
    return np.array(json.loads(path.read_text(encoding="utf-8")), dtype=np.float64)


def _expected_best(num: int) -> float:
    """Of so many standard normal numbers."""
    return float(norm.expect(lambda x: x * num * ndtr(x) ** (num - 1)))


def _seen_if_overrated() -> float:
    """Probability that an answer overrated as on the map lies more than `FAR` above the prompt's mean reward."""
    added = np.linspace(*OVERRATED_BY, 400)
    return float(ndtr(added - FAR).mean())
