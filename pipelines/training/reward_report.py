"""How good a reward model is: held-out accuracy alongside "the longer answer wins", and how far to trust its odds.

A Bradley-Terry model says that the chosen response wins with probability sigmoid(d), d = r(chosen) - r(rejected). Ties
(d = 0) count half. The temperature T is fitted on validation pairs, so that sigmoid(d / T) has the lowest log-loss; it
is reported and applied to nothing here. Intervals are 95 % bootstrap intervals over prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allgood.calibration import expected_calibration_error, fit_temperature, reliability_curve, why_at_bound
from allgood.errors import ModelError
from allgood.resampling import resampled_means
from pipelines.data import Pair

Report = dict[str, Any]
Floats = NDArray[np.float64]

SIMILAR_LENGTH_RATIO = 1.2  # longer response / shorter response, in characters, below which a pair is of similar length


@dataclass(frozen=True)
class ScoredPairs:
    """Rewards of both sides of pairs, [pairs]; `prompts` names the cluster of each; lengths are in characters."""

    prompts: Sequence[str]
    chosen: Floats
    rejected: Floats
    chosen_lengths: Floats
    rejected_lengths: Floats

    @staticmethod
    def of(pairs: Sequence[Pair], *, chosen: NDArray[np.floating], rejected: NDArray[np.floating]) -> ScoredPairs:
        """The rewards of `pairs`."""
        return ScoredPairs(
            prompts=[pair.prompt_id for pair in pairs],
            chosen=chosen.astype(np.float64),
            rejected=rejected.astype(np.float64),
            chosen_lengths=np.array([len(pair.chosen) for pair in pairs], dtype=np.float64),
            rejected_lengths=np.array([len(pair.rejected) for pair in pairs], dtype=np.float64),
        )

    @property
    def differences(self) -> Floats:
        """r(chosen) - r(rejected), [pairs]."""
        return self.chosen - self.rejected

    @property
    def is_right(self) -> Floats:
        """1 where the model prefers the chosen response, 1/2 for a tie, [pairs]."""
        return 0.5 * (1.0 + np.sign(self.differences))

    @property
    def longer_wins(self) -> Floats:
        """1 where the chosen response is the longer one, 1/2 for equal lengths, [pairs]."""
        return 0.5 * (1.0 + np.sign(self.chosen_lengths - self.rejected_lengths))

    @property
    def similar_length(self) -> NDArray[np.bool_]:
        """Pairs whose lengths differ by less than a factor `SIMILAR_LENGTH_RATIO`, [pairs]."""
        shorter = np.minimum(self.chosen_lengths, self.rejected_lengths)
        longer = np.maximum(self.chosen_lengths, self.rejected_lengths)
        return np.asarray(longer < SIMILAR_LENGTH_RATIO * shorter)


def reward_report(validation: ScoredPairs, test: ScoredPairs, *, num_bootstrap: int, seed: int = 0) -> Report:
    """The numbers of a reward model on test pairs. Flat keys are the headlines."""
    temperature = fit_temperature(validation.differences)
    rewards = np.concatenate([test.chosen, test.rejected])
    accuracy = _share(test.is_right, test.prompts, num_bootstrap, seed)
    longer = _share(test.longer_wins, test.prompts, num_bootstrap, seed)
    gain = _share(test.is_right - test.longer_wins, test.prompts, num_bootstrap, seed)
    return {
        "accuracy": accuracy["mean"],
        "accuracy_ci": accuracy["ci"],
        "longer_wins_accuracy": longer["mean"],
        "longer_wins_accuracy_ci": longer["ci"],
        "gain_over_longer_wins": gain["mean"],
        "gain_over_longer_wins_ci": gain["ci"],
        "beats_longer_wins": gain["ci"] is not None and gain["ci"][0] > 0,
        "similar_length": _similar_length(test, num_bootstrap, seed),
        "test_pairs": len(test.prompts),
        "test_prompts": len(set(test.prompts)),
        "log_loss": log_loss(test.differences),
        "expected_calibration_error": expected_calibration_error(test.differences),
        "temperature": temperature,
        "log_loss_at_temperature": log_loss(test.differences / temperature),
        "expected_calibration_error_at_temperature": expected_calibration_error(test.differences / temperature),
        "reliability": _curve(test.differences),
        "reliability_at_temperature": _curve(test.differences / temperature),
        "reward_mean": float(rewards.mean()),
        "reward_std": float(rewards.std()),
        "reward_length_correlation": _correlation(
            rewards, np.concatenate([test.chosen_lengths, test.rejected_lengths])
        ),
    }


def refuse_bound(property_name: str, temperature: float) -> None:
    """ModelError when rewards are to be divided by a temperature that no pairs have determined."""
    reason = why_at_bound(temperature)
    if reason is not None:
        raise ModelError(
            f"properties.{property_name}.calibrate: the temperature that was fitted on validation pairs is "
            f"{temperature:.4g}, the bound of the fit: {reason}; set calibrate: false, or give more validation pairs"
        )


def reliability_plot(report: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy against the model's own probability, as it is and at the fitted temperature, as a PNG."""
    from matplotlib.figure import Figure  # without pyplot: no global state, no display

    from pipelines.output.drawing import save_png

    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0.5, 1], [0.5, 1], color="0.6", linestyle="--", linewidth=1, label="perfectly calibrated")
    error, error_at_temperature = (
        report[key] for key in ("expected_calibration_error", "expected_calibration_error_at_temperature")
    )
    curves = {
        f"as trained (error {error:.3f})": report["reliability"],
        f"at temperature {report['temperature']:.2f} (error {error_at_temperature:.3f})": report[
            "reliability_at_temperature"
        ],
    }
    for (label, curve), (color, marker) in zip(curves.items(), (("tab:blue", "o"), ("tab:orange", "s")), strict=True):
        x, y = [point["confidence"] for point in curve], [point["accuracy"] for point in curve]
        # One standard error of a share, as if pairs of a prompt were independent; the title has the honest interval.
        bars = [np.sqrt(max(p["accuracy"] * (1 - p["accuracy"]), 1e-12) / p["pairs"]) for p in curve]
        axes.errorbar(x, y, yerr=bars, color=color, marker=marker, markersize=5, linewidth=1.5, capsize=2, label=label)
    ends = report["accuracy_ci"]
    interval = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
    axes.set(
        xlabel="probability that the model gives to its choice",
        ylabel="share of pairs where its choice is right",
        title=f"{report['property']}: accuracy {report['accuracy']:.3f}{interval} on {report['test_pairs']} test pairs",
        xlim=(0.48, 1.02),
        ylim=(min(0.48, *(p["accuracy"] - 0.05 for curve in curves.values() for p in curve)), 1.02),
    )
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    save_png(figure, path, dpi=120)


def _similar_length(test: ScoredPairs, num_bootstrap: int, seed: int) -> Report | None:
    """Accuracy where length says little; None where there is no such pair."""
    members = test.similar_length
    if not members.any():
        return None
    prompts = [prompt for prompt, is_member in zip(test.prompts, members, strict=True) if is_member]
    accuracy = _share(test.is_right[members], prompts, num_bootstrap, seed)
    return {
        "pairs": int(members.sum()),
        "accuracy": accuracy["mean"],
        "accuracy_ci": accuracy["ci"],
        "longer_wins_accuracy": float(test.longer_wins[members].mean()),
    }


def _share(values: Floats, prompts: Sequence[str], num_bootstrap: int, seed: int) -> Report:
    return {
        "mean": float(values.mean()),
        "ci": mean_interval(values, prompts, num_bootstrap=num_bootstrap, seed=seed),
    }


def log_loss(differences: Floats) -> float:
    """Mean of -log sigmoid(d), in nats; log 2 for a model that knows nothing."""
    return float(np.logaddexp(0.0, -differences).mean())


def _curve(differences: Floats) -> list[dict[str, float]]:
    curve = reliability_curve(differences)
    points = zip(curve.confidence.tolist(), curve.accuracy.tolist(), curve.count.tolist(), strict=True)
    return [{"confidence": confidence, "accuracy": accuracy, "pairs": pairs} for confidence, accuracy, pairs in points]


def _correlation(first: Floats, second: Floats) -> float | None:
    if first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def mean_interval(
    values: NDArray[np.float64], clusters: Sequence[str], *, num_bootstrap: int, seed: int, level: float = 0.95
) -> list[float] | None:
    """Percentile interval [low, high] of the mean of `values` [rows], resampling whole clusters with replacement.

    None where there is a single cluster, which shows no spread.
    """
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    if index.max() == 0:
        return None
    sums, counts = (np.bincount(index, weights=each).astype(np.float64)[:, None] for each in (values, None))
    means = resampled_means(sums, counts, generator=np.random.default_rng(seed), num_resamples=num_bootstrap)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]
