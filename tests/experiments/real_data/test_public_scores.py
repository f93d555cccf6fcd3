"""What is read off files of public scores, on made-up files whose coordinates are known."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from allgood.errors import DataError
from experiments.real_data.public_scores import COMMITS, JUDGED, JUDGEMENTS, REWARDS, SAMPLED, public_coordinates

PROMPTS, TESTED = 10000, 2000
SPREAD, SIGMA = 3.0, 0.5
MANY_PROMPTS, MANY_SAMPLES = 10, 300
JUDGED_PROMPTS, JUDGED_SAMPLES = 150, 11
BEST_OF_16 = 1.766  # of 16 standard normal numbers; from tables of order statistics


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_rewards(folder: Path, random: np.random.Generator) -> None:
    spreads = SPREAD * np.exp(SIGMA * random.normal(size=(PROMPTS, 1)) - SIGMA**2)  # mean square SPREAD^2
    gold = spreads * random.normal(size=(PROMPTS, 2))
    write(folder / REWARDS / "rm/rm_rewards.json", gold.tolist())
    spreads, gold = spreads[:TESTED], gold[:TESTED]
    # Correlation 0.8 within every prompt: a normal error of 3/4 of its spread.
    model = gold + 0.75 * spreads * random.normal(size=gold.shape)
    for name, rewards in {"gold": gold, "rm": model, "rm-center": -model}.items():
        rows = [{"reward_1": first, "reward_2": second} for first, second in rewards.tolist()]
        write(folder / REWARDS / f"rm/test_reward_{name}.json", rows)
    for index in range(MANY_PROMPTS):
        write(folder / SAMPLED / f"reward_{index}.json", [random.normal(size=MANY_SAMPLES).tolist()])


def write_judgements(folder: Path, random: np.random.Generator) -> None:
    shares = random.uniform(0.1, 0.9, size=(JUDGED_PROMPTS, JUDGED_SAMPLES))
    for sample in range(JUDGED_SAMPLES):
        second = sample % 2 == 0  # which of the two is the sample; preference 2 is all for the second
        rows = [
            {"generator_2": "allenai/it" if second else "fixed", "preference": 1 + share if second else 2 - share}
            for share in shares[:, sample].tolist()
        ]
        write(folder / JUDGEMENTS / f"{sample}/weighted_alpaca_eval_gpt4_turbo/annotations.json", rows)
    with (folder / JUDGEMENTS / "merged_leaderboard.csv").open("w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["win_rate"])
        writer.writeheader()
        writer.writerows({"win_rate": 100 * share} for share in shares.mean(0))
    best = shares.mean() + 0.5 * np.sqrt(shares.var(1, ddof=1).mean()) * BEST_OF_16
    chosen = {name: {"win_rate": 100 * rate, "standard_error": 1.0} for name, rate in (("rm", best), ("random_0", 0.5))}
    write(folder / JUDGED / "bon_eval_results.json", chosen)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    folder, random = tmp_path_factory.mktemp("public"), np.random.default_rng(0)
    write_rewards(folder, random)
    write_judgements(folder, random)
    return public_coordinates(folder, seed=0)


def test_spread_and_sigma_from_two_samples_per_prompt(found: Mapping[str, Any]) -> None:
    labeller = found["labeller"]
    assert labeller["spread"]["low"] < SPREAD < labeller["spread"]["high"]
    assert labeller["sigma"]["value"] == pytest.approx(SIGMA, abs=0.12)
    assert labeller["sigma_of_logs"] == pytest.approx(SIGMA, abs=0.12)
    assert labeller["prompts"] == PROMPTS


def test_a_model_is_measured_against_its_labeller(found: Mapping[str, Any]) -> None:
    trained = found["trained"]["4B, Bradley-Terry"]
    assert trained["correlation"]["low"] < 0.8 < trained["correlation"]["high"]
    assert trained["agreement"] == pytest.approx(0.5 + np.arcsin(0.8) / np.pi, abs=0.02)  # of signs of normal numbers
    opposed = found["trained"]["4B, centred"]
    assert opposed["correlation"]["value"] == pytest.approx(-trained["correlation"]["value"])
    assert opposed["agreement"] == pytest.approx(1 - trained["agreement"])


def test_normal_rewards_of_many_samples_look_normal(found: Mapping[str, Any]) -> None:
    many = found["many_samples"]
    assert many["typical"] == pytest.approx(1, abs=0.05)
    assert many["reach"]["median"] == pytest.approx(many["normal_reach"], abs=0.4)
    assert many["far_above"] == pytest.approx(MANY_PROMPTS * MANY_SAMPLES * norm.sf(3), abs=6)
    # Overrated by 2 to 6 spreads, the mean of Phi(a - 3) over a in [2, 6] lies more than three above: 0.729.
    assert many["expected_far"] == pytest.approx(0.01 * MANY_PROMPTS * MANY_SAMPLES * 0.729, rel=0.01)


def test_a_gain_of_best_of_16_is_a_correlation(found: Mapping[str, Any]) -> None:
    judged = found["judged"]
    assert set(judged["correlation"]) == {"rm"}
    assert judged["correlation"]["rm"]["value"] == pytest.approx(0.5, abs=0.001)
    assert (judged["prompts"], judged["judged"]) == (JUDGED_PROMPTS, JUDGED_SAMPLES)


@pytest.mark.parametrize("name", COMMITS)
def test_a_missing_clone_is_named_with_its_commit(name: str, tmp_path: Path) -> None:
    for other in set(COMMITS) - {name}:
        (tmp_path / other).mkdir()
    with pytest.raises(DataError, match=f"lacks {name}; clone it there and check out {COMMITS[name]}"):
        public_coordinates(tmp_path, seed=0)
