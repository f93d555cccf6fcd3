"""The study's numbers: gold of the chosen answer against k for every ranker, paired differences, tuned weights.

Everything is measured on test prompts; only the weights of the tuned sum come from validation prompts. "Both" is the
share of chosen answers whose golds both beat the prompt's 75 % quantile. Intervals are 95 %, by bootstrap over prompts;
differences are paired by prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allgood.diagnostics import within_prompt_correlation
from allgood.intervals import cluster_bootstrap
from experiments.best_of_k.models import MIN_ANSWERS, Scored
from experiments.best_of_k.rankers import PROPERTIES, rankers, weighted_sum
from pipelines.answers.judged import judged
from pipelines.answers.reading import Answered
from pipelines.answers.rewards import RawRewards
from pipelines.best_of_k.frontier import best_of_every_k
from pipelines.best_of_k.pool import Pool

Floats = NDArray[np.float64]

MAX_K = MIN_ANSWERS
DIFFERENCE_KS = (2, 4, 8, 16)
BASELINES = ("raw_sum", "weighted_sum")
RATIOS = tuple(float(ratio) for ratio in np.geomspace(1 / 8, 8, 9))
BAR, LOW_BAR = 0.75, 0.5
METRICS = ("gold.helpful", "gold.concise", "both", "both_median")


@dataclass(frozen=True)
class Sample:
    """Answers of one split: the pool of scored rows, and per metric the value of each of them, by prompt."""

    pool: Pool
    values: Mapping[str, Sequence[Floats]]

    def curves(self, scores: Floats) -> dict[str, Floats]:
        """Per metric the expectation for the best of k by `scores`, [prompts, k]."""
        by_prompt = self.pool.by_prompt(scores)
        return {name: best_of_every_k(by_prompt, values, MAX_K) for name, values in self.values.items()}


def results(found: Scored, reports: Mapping[str, Mapping[str, Any]], *, seed: int) -> dict[str, Any]:
    """Everything that the page and the figures show, as JSON values."""
    validation, test = (_split(found, split) for split in ("validation", "test"))
    ratio, tuning = tuned_ratio(*validation)
    scores = rankers(test[1], {"helpful": ratio**0.5, "concise": ratio**-0.5})
    curves = {name: test[0].curves(values) for name, values in scores.items()}
    return {
        "prompts": {"test": len(test[0].pool.rows), "validation": len(validation[0].pool.rows)},
        "answers": {"test": sum(test[0].pool.counts), "validation": sum(validation[0].pool.counts)},
        "answers_without_utility": sum(sample.pool.judged.num_missing for sample, _ in (validation, test)),
        "max_k": MAX_K,
        "tuned_ratio": ratio,
        "tuning": tuning,
        "reward_models": {name: _model(report) for name, report in reports.items()},
        "correlation": _correlations(test[0]),
        "curves": {
            name: {metric: _curve(matrix, seed) for metric, matrix in by_metric.items()}
            for name, by_metric in curves.items()
        },
        "oracle": _curve(_oracle(test[0]), seed),
        "differences": [
            {"ranker": name, "baseline": baseline, "metric": metric, "k": k}
            | _interval(curves[name][metric][:, k - 1] - curves[baseline][metric][:, k - 1], seed)
            for baseline in BASELINES
            for name in curves
            if name != baseline
            for metric in METRICS
            for k in DIFFERENCE_KS
        ],
    }


def tuned_ratio(sample: Sample, found: Scored) -> tuple[float, dict[str, float]]:
    """The ratio of weights, helpful over concise, with the highest share of both at k = 16 on this sample, and all."""
    shares = {}
    for ratio in RATIOS:
        scores = weighted_sum(found, {"helpful": ratio**0.5, "concise": ratio**-0.5})
        shares[ratio] = float(sample.curves(scores)["both"][:, MAX_K - 1].mean())
    best = max(RATIOS, key=lambda ratio: shares[ratio])
    return best, {f"{ratio:.3f}": share for ratio, share in shares.items()}


def _split(found: Scored, split: str) -> tuple[Sample, Scored]:
    """One split of the answers, prompts with fewer than 16 scored answers left out."""
    kept = [index for index, answered in enumerate(found.answers) if answered.split == split]
    ends = np.cumsum([0, *(len(answered.responses) for answered in found.answers)])
    rows = np.concatenate([np.arange(ends[index], ends[index + 1]) for index in kept])
    rewards = {name: values[rows] for name, values in found.raw.rewards.items()}
    part = Scored(
        found.config,
        [found.answers[index] for index in kept],
        RawRewards(rewards, {}),
        found.table,
    )
    pool = Pool.of(judged(part.config, part.answers, part.raw, part.table))
    enough = [index for index, count in enumerate(pool.counts) if count >= MIN_ANSWERS]
    return Sample(Pool(pool.judged, [pool.rows[i] for i in enough]), _values(pool, enough)), part


def _values(pool: Pool, members: Sequence[int]) -> dict[str, list[Floats]]:
    """Gold of every scored answer, and whether both golds beat the prompt's quantiles, by prompt."""
    columns = {
        f"gold.{name}": np.array([_gold(a, name, i) for a in pool.judged.answers for i in range(len(a.responses))])
        for name in PROPERTIES
    }
    bars = {
        share: {name: np.concatenate([_beats(a, name, share) for a in pool.judged.answers]) for name in PROPERTIES}
        for share in (BAR, LOW_BAR)
    }
    columns["both"] = np.all([bars[BAR][name] for name in PROPERTIES], axis=0).astype(np.float64)
    columns["both_median"] = np.all([bars[LOW_BAR][name] for name in PROPERTIES], axis=0).astype(np.float64)
    return {name: [values[pool.rows[index]] for index in members] for name, values in columns.items()}


def _gold(answered: Answered, name: str, index: int) -> float:
    return float(answered.fields[index][f"gold.{name}"])


def _beats(answered: Answered, name: str, share: float) -> NDArray[np.bool_]:
    """Which answers are strictly above the quantile of the prompt's whole candidate set."""
    gold = np.array([_gold(answered, name, index) for index in range(len(answered.responses))])
    above: NDArray[np.bool_] = gold > np.quantile(gold, share)
    return above


def _oracle(sample: Sample) -> Floats:
    """The chance that one of k answers has both golds over the bar: no ranker can do better, [prompts, k]."""
    return best_of_every_k(sample.values["both"], sample.values["both"], MAX_K)


def _correlations(sample: Sample) -> dict[str, float]:
    """Within prompts: between the golds, between the rewards, and of each reward with its gold and with the words."""
    pool = sample.pool
    view = pool.judged.properties
    texts = [response for answered in pool.judged.answers for response in answered.responses]
    rows = {
        "gold.helpful": list(sample.values["gold.helpful"]),
        "gold.concise": list(sample.values["gold.concise"]),
        "reward.helpful": pool.by_prompt(view["helpful"].rewards),
        "reward.concise": pool.by_prompt(view["concise"].rewards),
        "words": pool.by_prompt(np.array([len(text.split()) for text in texts], dtype=np.float64)),
    }
    pairs = [
        ("gold.helpful", "gold.concise"),
        ("reward.helpful", "reward.concise"),
        ("reward.helpful", "gold.helpful"),
        ("reward.concise", "gold.concise"),
        ("reward.helpful", "words"),
        ("reward.concise", "words"),
    ]
    return {f"{a} ~ {b}": within_prompt_correlation(_grid(rows[a]), _grid(rows[b])) for a, b in pairs}


def _grid(rows: Sequence[Floats]) -> Floats:
    """Rows of different length as [prompts, most], NaN where a prompt has no more."""
    grid = np.full((len(rows), max(map(len, rows))), np.nan)
    for index, row in enumerate(rows):
        grid[index, : len(row)] = row
    return grid


def _curve(matrix: Floats, seed: int) -> list[dict[str, float]]:
    return [{"k": k} | _interval(matrix[:, k - 1], seed) for k in range(1, MAX_K + 1)]


def _interval(by_prompt: Floats, seed: int) -> dict[str, float]:
    found = cluster_bootstrap(by_prompt, seed=seed)
    return {"value": round(found.value, 5), "low": round(found.low, 5), "high": round(found.high, 5)}


def _model(report: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("accuracy", "accuracy_ci", "longer_wins_accuracy", "test_pairs", "num_steps", "best_step")
    dropped = {split: counts["dropped_too_long"] for split, counts in report["pairs"].items()}
    return {name: report[name] for name in kept} | {
        "train_pairs": report["pairs"]["train"]["pairs"],
        "dropped_pairs": dropped,
    }
