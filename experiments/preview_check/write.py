"""The page `preview_vs_training.md` and its figures, from the results of the check."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actors.tables import markdown_table
from allgood.errors import DataError
from experiments.preview_check import figures
from experiments.preview_check.analysis import (
    Bootstrapped,
    bootstrapped_correlation,
    grid_of,
    rank_correlation,
    spread_of,
)
from experiments.study.convergence import mean_change
from experiments.study.flatness import is_flat
from pipelines.output.files import atomic_path
from pipelines.output.stamp import load_together, refuse_mixed

Entry = dict[str, Any]
PAGE, DATA = "preview_vs_training.md", "preview_vs_training.json"
FIGURE, CONVERGENCE = "preview_vs_training.png", "preview_vs_training_convergence.png"
COLUMNS = (
    *("target KL", "setting", "γ", "KL predicted", "achieved", "gold win rate predicted", "achieved"),
    *("both good predicted", "achieved", "efficiency", "gold gain / predicted", "change of KL, of utility"),
)


def stored_results(folder: Path) -> list[Entry]:
    """The numbers that a page was drawn from, which lie alongside it.

    Raises:
        DataError: There are none, or they are of different versions.
    """
    path = folder / "data" / DATA
    if not path.is_file():
        raise DataError(f"{path} does not exist; run `python -m experiments.preview_check` first")
    entries: list[Entry] = json.loads(path.read_text(encoding="utf-8"))
    refuse_mixed({f"{path}: {entry['setting']} at {entry['target_kl']:g}": entry for entry in entries})
    return entries


def load_results(folder: Path) -> list[Entry]:
    """All results of a check, by setting and target KL.

    Raises:
        DataError: There are none, or they are of different versions.
    """
    found = load_together(sorted((folder / "results").glob("*.json")))
    if not found:
        raise DataError(f"{folder} holds no results; run `python -m experiments.preview_check` first")
    return sorted(found, key=lambda entry: (entry["target_kl"], entry["setting"]))


def write_results(entries: Sequence[Entry], folder: Path) -> None:
    """Write the page, its figures, and the numbers that they are drawn from, into `folder`."""
    for name, png in ((FIGURE, figures.predicted_and_achieved(entries)), (CONVERGENCE, figures.convergence(entries))):
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(png)
    with atomic_path(folder / "data" / DATA) as temporary:  # a line per setting: by prompt they are many numbers
        temporary.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n", encoding="utf-8")
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text(page_of(entries), encoding="utf-8")


def page_of(entries: Sequence[Entry]) -> str:
    """The page as Markdown."""
    parts = [_head(entries), *_verdict(entries), f"![predicted against achieved]({FIGURE})\n"]
    parts += ["## Every setting\n", *_table(entries), "", _efficiency(entries)]
    parts += ["## Spread of the true win rates against their noise\n", *_spread(entries), ""]
    parts += ["## Convergence\n", _convergence(entries), f"![KL and utility while training]({CONVERGENCE})\n"]
    return "\n".join(parts)


def _head(entries: Sequence[Entry]) -> str:
    scale = entries[0]["scale"]
    targets = sorted({entry["target_kl"] for entry in entries})
    settings = {entry["setting"] for entry in entries}
    return (
        "# Preview against training\n\n"
        f"Made by `python -m experiments.preview_check`: {len(entries)} settings = {len(settings)} objectives with "
        f"their references x {len(targets)} target KLs ({', '.join(f'{target:g}' for target in targets)} nats), on the "
        "quickstart world. The KL coefficient of each comes from `solve_gamma` on "
        f"{scale['solving_prompts']} alignment prompts; the prediction from {scale['samples']} samples of the SFT "
        f"policy on each of {scale['test_prompts']} test prompts; the truth from {scale['steps']} steps of RL with a "
        f"learning rate that falls to 0, and {scale['evaluation_samples']} samples of each trained policy on the same "
        "test prompts, against all SFT samples of the prompt. One world, one seed of RL per setting.\n"
    )


def _verdict(entries: Sequence[Entry]) -> list[str]:
    num_resamples = int(entries[0]["scale"]["bootstrap"])
    predicted, achieved = (grid_of(entries, side, "gold_win_rate") for side in ("predicted", "achieved"))
    both = bootstrapped_correlation(predicted, achieved, num_resamples=num_resamples)
    prompts = bootstrapped_correlation(predicted, achieved, num_resamples=num_resamples, resample_settings=False)
    errors = {name: _errors(entries, name) for name in ("kl", "gold_win_rate", "both_good")}
    by_target = [
        f"{target:g} nats: {rank_correlation(predicted[i : i + 1].mean(-1), achieved[i : i + 1].mean(-1)):.2f}"
        for i, target in enumerate(sorted({entry["target_kl"] for entry in entries}))
    ]
    return [
        "**Order.** Spearman rank correlation of predicted and achieved gold win rate, ranks within each target KL, "
        f"pooled: **{_interval(both)}** (95 %, prompts and settings resampled; prompts alone: {_interval(prompts)}). "
        f"By target: {', '.join(by_target)}.\n",
        "**Size.** Achieved minus predicted, mean over settings and root mean square: "
        + ", ".join(f"{name.replace('_', ' ')} {mean:+.3f} / {rms:.3f}" for name, (mean, rms) in errors.items())
        + ".\n",
    ]


def _errors(entries: Sequence[Entry], metric: str) -> tuple[float, float]:
    differences = np.array(
        [entry["achieved"]["mean"][metric] - entry["predicted"]["mean"][metric] for entry in entries]
    )
    return float(differences.mean()), float(np.sqrt((differences**2).mean()))


def _table(entries: Sequence[Entry]) -> list[str]:
    rows = []
    for entry in entries:
        predicted, achieved, matched = entry["predicted"]["mean"], entry["achieved"]["mean"], entry["at_measured_kl"]
        cells = [f"{entry['target_kl']:g}", entry["label"], f"{entry['gamma']:.3g}"]
        for metric, digits in (("kl", 2), ("gold_win_rate", 3), ("both_good", 3)):
            mark = " !" if metric == "kl" and not entry["reliable"] else ""
            cells += [f"{predicted[metric]:.{digits}f}{mark}", f"{achieved[metric]:.{digits}f}"]
        unsupported = "" if matched.get("reliable", True) else " !"
        cells += [_ratio(matched["efficiency"]) + unsupported, _ratio(matched["gold_gain_ratio"]) + unsupported]
        cells.append(_change(entry) + ("" if is_flat(entry["change"]) else " (not flat)"))
        rows.append(cells)
    return markdown_table(COLUMNS, rows, align="rl" + "r" * 9 + "l")


def _efficiency(entries: Sequence[Entry]) -> str:
    matched = [entry["at_measured_kl"] for entry in entries]
    found = [entry for entry in matched if entry["efficiency"] is not None and entry["reliable"]]
    if not found:
        return "No efficiency: the samples cannot show the measured KL of any run.\n"
    values = np.array([entry["efficiency"] for entry in found])
    gold = np.array([entry["gold_gain_ratio"] for entry in found])
    return (
        "*Efficiency*: the run's gain in its own utility over the tilt's gain at the run's measured KL, both on the "
        "test prompts. *Gold gain / predicted*: gold win rate above one half over the tilt's at that KL; not bounded "
        "by 1, and without meaning where the predicted gain is near 0. *!*: the samples do not support that KL. "
        f"Efficiency lies between {values.min():.2f} and {values.max():.2f}, median {np.median(values):.2f}; gold gain "
        f"over predicted has median {np.median(gold):.2f}.\n"
    )


def _spread(entries: Sequence[Entry]) -> list[str]:
    num_resamples = int(entries[0]["scale"]["bootstrap"])
    achieved, predicted = (grid_of(entries, side, "gold_win_rate") for side in ("achieved", "predicted"))
    header = ["target KL", "spread of achieved", "of predicted", "noise of achieved", "share of variance not noise"]
    rows = []
    for index, target in enumerate(sorted({entry["target_kl"] for entry in entries})):
        found = spread_of(achieved[index], num_resamples=num_resamples)
        other = float(predicted[index].mean(-1).std(ddof=1))
        spreads = [f"{value:.4f}" for value in (found.spread, other, found.noise)]
        rows.append([f"{target:g}", *spreads, f"{found.reliability:.2f}"])
    return [
        "Spread: standard deviation over the settings of one target. Noise: the spread that settings of one true win "
        "rate would show, from resampled test prompts; another seed of RL would add to it. On average a perfect "
        "prediction would correlate with the achieved rates by about the square root of the last column.\n",
        *markdown_table(header, rows, align="rrrrr"),
    ]


def _convergence(entries: Sequence[Entry]) -> str:
    flat = [entry for entry in entries if is_flat(entry["change"])]
    changes = {name: [float(entry["change"][name]) for entry in entries] for name in ("kl", "utility")}
    others = [
        f"{entry['label']} at {entry['target_kl']:g} nats ({_change(entry)})" for entry in entries if entry not in flat
    ]
    return (
        "Flat: KL and the gain in utility on validation prompts change by at most 5 % over the last quarter of the "
        f"steps. {len(flat)} of {len(entries)} settings are. The median size of the change is "
        f"{np.median(np.abs(changes['kl'])):.1%} in KL and {np.median(np.abs(changes['utility'])):.1%} in utility; "
        f"with its sign the mean is {mean_change(changes['kl'])} in KL and {mean_change(changes['utility'])} in "
        "utility (95 % over settings). A learning rate that ends at 0 helps flatness, so flat does not prove that more "
        "steps would change nothing." + (f" Not flat: {'; '.join(others)}." if others else "") + "\n"
    )


def _change(entry: Entry) -> str:
    return f"KL {entry['change']['kl']:+.1%}, utility {entry['change']['utility']:+.1%}"


def _interval(found: Bootstrapped) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
