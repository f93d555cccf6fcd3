"""Everything that the page shows of the judged answers, as JSON values: coordinates, tails, and what the map says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allgood.idealised.cells import MAIN_BAR
from allgood.idealised.objectives import LSC, RAW
from experiments.real_data.coordinates import (
    Indices,
    Spreads,
    Statistic,
    correlation,
    interval,
    intervals,
    partial_correlation,
    reach,
    resamples,
    share_of_authors,
    sigma_between_prompts,
    sigma_by_property,
)
from experiments.real_data.models import Judged, Rewarded
from experiments.real_data.normal_world import OVERRATED_BY
from experiments.real_data.predicted import KLS, Coordinates, all_good_rates, rate_before
from experiments.real_data.tails import tail_test

Floats = NDArray[np.float64]

NUM_PREDICTIONS = 100  # resamples of prompts whose coordinates are put through the calculation
FIRST, SECOND = "helpful", "harmless"

NAMED: Mapping[str, Coordinates] = {
    "better, spreads alike": Coordinates(2.0, 0.7, -0.34),
    "better, spreads differ": Coordinates(2.0, 0.7, -0.34, mixed=0.7),
    "strong, spreads differ between prompts": Coordinates(4.0, 0.8, -0.34, between_prompts=0.7),
    "strong, spreads differ by prompt and property": Coordinates(4.0, 0.8, -0.34, mixed=0.7),
    "the same, 1 % overrated": Coordinates(4.0, 0.8, -0.34, mixed=0.7, overrated=0.01),
}
"""Points that are assumed, not measured: total spread, correlation with gold, correlation of the properties."""
FIRST_LOOK: Mapping[str, Coordinates] = {"first look": Coordinates(0.57, 0.34, -0.34, mixed=0.4)}


def judge_numbers(found: Judged, *, seed: int) -> dict[str, Any]:
    """Of the judge itself."""
    num = len(found.judge)
    statistics = _of_score(found.judge, found, seed=seed) | {"reach": reach(found.judge, MAIN_BAR)}
    return {
        "prompts": num,
        "answers": int(np.isfinite(found.judge).sum()),
        "without_spread": int((np.nanstd(found.judge, axis=1) == 0).sum()),
        "intervals": intervals(statistics, num, seed=seed),
    }


def model_numbers(found: Judged, kind: Rewarded, *, seed: int) -> dict[str, Any]:
    """Of one kind of reward models: coordinates, the tail of the helpful one's errors, and the map's prediction."""
    rewards, num = kind.rewards, len(found.judge)
    spreads = {name: Spreads.of(values, seed=seed) for name, values in rewards.items()}
    accuracy = correlation(rewards[FIRST], found.judge)
    tension = correlation(rewards[FIRST], rewards[SECOND])
    common: dict[str, Statistic] = {
        "accuracy": accuracy,
        "accuracy_given_length": partial_correlation(rewards[FIRST], found.judge, found.log_words),
        "tension": tension,
        "between_prompts": lambda prompts: sigma_between_prompts(spreads[FIRST], spreads[SECOND], prompts),
        "mixed": lambda prompts: sigma_by_property(spreads[FIRST], spreads[SECOND], prompts),
    }

    def coordinates(prompts: Indices) -> Coordinates:
        typical = [spreads[name].typical(prompts) for name in (FIRST, SECOND)]
        return Coordinates(
            spread=float(np.sqrt(typical[0] * typical[1])),
            accuracy=accuracy(prompts),
            correlation=tension(prompts),
            ratio=typical[1] / typical[0],
            between_prompts=common["between_prompts"](prompts),
            mixed=common["mixed"](prompts),
        )

    return {
        "pairs": {name: _report(report) for name, report in kind.reports.items()},
        "properties": {
            name: intervals(_of_score(values, found, seed=seed), num, seed=seed) for name, values in rewards.items()
        },
        "intervals": intervals(common, num, seed=seed),
        "tails": _tails(rewards[FIRST], found, accuracy(np.arange(num)), seed=seed),
        "predicted": prediction(coordinates(np.arange(num)))
        | {
            "differences": _differences(
                [coordinates(drawn) for drawn in resamples(num, seed=seed, num=NUM_PREDICTIONS)]
            )
        },
    }


def prediction(coordinates: Coordinates) -> dict[str, Any]:
    """All-good rates of four sums at `KLS`, and before."""
    rates = all_good_rates(coordinates)
    return {
        "before": rate_before(coordinates),
        "all_good": {name: [round(float(rate), 4) for rate in by_kl] for name, by_kl in rates.items()},
    }


def _differences(drawn: Sequence[Coordinates]) -> list[dict[str, float]]:
    """95 % intervals, per KL, of LSC sum minus raw sum over resampled coordinates."""
    rates = [all_good_rates(coordinates, (RAW, LSC)) for coordinates in drawn]
    low, high = np.quantile([rate[LSC] - rate[RAW] for rate in rates], [0.025, 0.975], axis=0)
    return [{"kl": kl, "low": float(low[index]), "high": float(high[index])} for index, kl in enumerate(KLS)]


def _of_score(scores: Floats, found: Judged, *, seed: int) -> dict[str, Statistic]:
    spreads = Spreads.of(scores, seed=seed)
    return {
        "spread": spreads.typical,
        "median_spread": spreads.median,
        "sigma": spreads.sigma,
        "ratio": spreads.ratio,
        "uncorrected_ratio": spreads.uncorrected_ratio,
        "length": correlation(scores, found.log_words),
        "authors": share_of_authors(scores, found.authors),
    }


def _tails(rewards: Floats, found: Judged, accuracy: float, *, seed: int) -> dict[str, Any]:
    """Of the errors against the judge, and of what length leaves of them."""
    low, high = (spreads / np.sqrt(1 - accuracy**2) for spreads in OVERRATED_BY)  # of the reward, in those of the error
    length_share = partial_correlation(rewards, found.log_words, found.judge)
    return {
        "against the judge": tail_test(rewards, [found.judge], overrated=(low, high), seed=seed),
        "against judge and length": tail_test(
            rewards, [found.judge, found.log_words], overrated=(low, high), seed=seed
        ),
        "explained_by_length": interval(lambda prompts: length_share(prompts) ** 2, len(rewards), seed=seed),
    }


def _report(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: report[name] for name in ("accuracy", "accuracy_ci", "longer_wins_accuracy", "temperature")}
