"""Write docs/results/real_input.md from a finished `make hh`.

python -m docs.write_real_input runs/hh_small --took "55 minutes and 6 GB alongside another job"
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from actors.tables import markdown_table
from pipelines.config.loading import load_config
from pipelines.evaluation.evaluate import MEASUREMENTS
from pipelines.run.folder import RunFolder

RESULTS = Path(__file__).parent / "results"
PLOTS = ("reliability_helpful_reward.png", "training_rewards.png")
Report = dict[str, Any]


def main() -> None:
    """Copy two plots and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--took", required=True, help="wall time and memory as measured, and what ran alongside it")
    arguments = parser.parse_args()
    folder = RunFolder(arguments.run)
    for plot in PLOTS:
        shutil.copyfile(folder.plots / plot, RESULTS / f"real_input_{plot}")
    (RESULTS / "real_input.md").write_text("\n".join(page(folder, arguments.took)), encoding="utf-8")


def page(folder: RunFolder, took: str) -> list[str]:
    """The page, line by line."""
    config = load_config(folder.config)
    summary = _read(folder.summary)
    evaluation, measurements = summary["evaluation"], _read(folder.evaluation / MEASUREMENTS)
    names = list(config.properties)
    align = config.align
    return [
        "# The chain on real preference pairs",
        "",
        "`make hh DATA=folder` on 4,117 helpful pairs (model answers, labelled by a model) and 1,866 harmless pairs "
        "(hh-rlhf, harmless-base), 2 CPU cores. The policy is trained from scratch on a few hundred texts, so what it "
        f"writes is poor; the numbers below are those of the run. It took {took}. Page written by "
        "`python -m docs.write_real_input`.",
        "",
        "## Reward models on test prompts",
        "",
        *_reward_table(folder, names),
        "",
        " ".join(_verdict(folder, name) for name in names),
        "",
        "The held-out evaluators have the same backbone as the reward models, trained on the other half of the pairs "
        "with the lower layers frozen: offline there is one pretrained encoder. Their agreement says nothing about "
        "reward hacking.",
        "",
        f"![Reliability of the helpful reward model](real_input_{PLOTS[0]})",
        "",
        "## Alignment",
        "",
        f"{align.steps} steps of {align.prompts_per_step} prompts x {align.samples_per_prompt} samples, gamma "
        f"{config.kl.coefficient:g}; {evaluation['num_prompts']} test prompts x {evaluation['num_samples']} samples.",
        "",
        *_policy_table(evaluation),
        "",
        *[
            f"* evaluator 2, {name}: over the SFT policy's {found['quantile']:.0%} quantile in a share of "
            f"{found['over_quantile']['value']:.3f} (the SFT policy itself {found['sft_over_quantile']['value']:.3f}: "
            f"bars from {measurements['num_sft_samples']} samples are low)"
            for name, found in measurements["evaluators"].items()
        ],
        "",
        f"![Rewards, references, margins and utilities while training](real_input_{PLOTS[1]})",
        "",
        "## What was dropped or cut",
        "",
        "```json",
        json.dumps(_counts(folder, names), indent=2),
        "```",
        "",
    ]


def _reward_table(folder: RunFolder, names: list[str]) -> list[str]:
    intervals = ("accuracy [95 %]", "longer wins", "gain over it [95 %]", "similar length", "probe [95 %]")
    rows = []
    for name in names:
        probe = folder.reward(name) / "probe.json"
        for label, path in ((name, folder.reward(name)), (f"{name}, held out", folder.evaluator(name))):
            report = _read(path / "report.json")
            probed = _accuracy(_read(probe)) if probe.is_file() and label == name else ""
            longer, similar = report["longer_wins_accuracy"], report["similar_length"]["accuracy"]
            cells = [_accuracy(report), f"{longer:.3f}", _gain(report), f"{similar:.3f}", probed]
            calibration = [f"{report['expected_calibration_error']:.3f}", f"{report['temperature']:.2f}"]
            rows.append([label, *cells, *calibration])
    return markdown_table(["model", *intervals, "ECE", "temperature"], rows, align="llrlrlrr")


def _policy_table(evaluation: Report) -> list[str]:
    rows = []
    for name in ("sft", "aligned"):
        entry = evaluation[name]
        rates = entry["shortcut_rates"]
        shares = [f"{rates[shortcut]:.3f}" for shortcut in ("lists", "consult", "refusal")]
        words, cut = f"{rates['mean_length_words']:.1f}", f"{entry['share_cut']:.3f}"
        rows.append([name, f"{entry['kl']:.2f}", *shares, words, cut])
    header = ["policy", "KL", "lists", "consult", "refusal", "words", "cut at the limit"]
    return markdown_table(header, rows, align="l" + "r" * 6)


def _counts(folder: RunFolder, names: list[str]) -> Report:
    sft = _read(folder.sft / "report.json")
    return {"sft": {split: sft[split] for split in ("train", "validation")}} | {
        name: _read(folder.reward(name) / "report.json")["pairs"] for name in names
    }


def _accuracy(report: Report) -> str:
    low, high = report["accuracy_ci"]
    return f"{report['accuracy']:.3f} [{low:.3f}, {high:.3f}]"


def _gain(report: Report) -> str:
    low, high = report["gain_over_longer_wins_ci"]
    return f"{report['gain_over_longer_wins']:+.3f} [{low:+.3f}, {high:+.3f}]"


def _verdict(folder: RunFolder, name: str) -> str:
    """Whether a reward model knows more than that the longer answer wins."""
    beats = _read(folder.reward(name) / "report.json")["beats_longer_wins"]
    return f"The {name} reward model " + (
        'beats "the longer answer wins".' if beats else 'cannot be told from "the longer answer wins".'
    )


def _read(path: Path) -> Report:
    content: Report = json.loads(path.read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
