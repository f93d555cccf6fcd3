"""The page of the study, written from its stored results; what it claims, it reads off the intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from actors.tables import markdown_table
from experiments.best_of_k.figures import TITLES, curves_figure, differences_figure
from experiments.best_of_k.rankers import LABELS
from pipelines.output.files import atomic_path

Results = Mapping[str, Any]
PAGE, CURVES, DIFFERENCES = "best_of_k_real.md", "best_of_k_real.png", "best_of_k_real_differences.png"
SHOWN_KS = (1, 4, 16)


def write_page(results: Results, folder: Path) -> None:
    """Write the page and its figures into `folder`."""
    figures = {
        CURVES: curves_figure(results),
        DIFFERENCES: differences_figure(results, k=results["max_k"], baseline="raw_sum"),
    }
    for name, png in figures.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(png)
    sections = (_head(results), _levels(results), _compared(results), _verdict(results), _models(results))
    with atomic_path(folder / PAGE) as temporary:
        temporary.write_text("\n".join(sections), encoding="utf-8")


def _head(results: Results) -> str:
    prompts, answers = results["prompts"], results["answers"]
    enough = results["prompts_with_enough_answers"]
    return f"""# Best of k on real answers

`python -m experiments.best_of_k --data FOLDER` on AlpacaEval's instructions: for each prompt up to 32 answers by
different models, judged by GPT-4. **Helpful** has the judge's logit as gold. **Concise** has gold computed from the
text: the log of the prompt's median word count over the answer's (half as long as the median: +0.69 nats). The two are
in tension. Each has a reward model (a 22M encoder, fine-tuned): helpful on judged pairs, concise on pairs drawn from
Bradley-Terry on its gold.

* **Prompts.** {enough} have at least {results["max_k"]} answers. They are split by groups of near-duplicates; a third
  is held out, and only they are reported: the {prompts["test"]} held-out prompts with at least {results["max_k"]}
  scored answers stand behind every point of every curve, each with its full candidate set ({answers["test"]} answers).
  Reward models train on pairs of the other prompts; a fifth of those ({prompts["validation"]} with enough answers) is
  kept from the training and tunes the weighted sum.
* **References** of the LSC sum: per prompt, the 75 % (and 85 %) quantile of its candidates' rewards.
* **Both**: the share of chosen answers whose two golds each beat the prompt's 75 % quantile.
* **Estimates** are the unbiased ones over all k-subsets; intervals are 95 %, by bootstrap over prompts; differences are
  paired by prompt. Answers that could not be scored (longer than the encoder reads) and were left out:
  {results["answers_without_utility"]}.
* **Reduced for 2 busy cores**: one seed, one epoch for helpful and about one for concise, pairs over 256 tokens
  dropped{_dropped(results)}, and answers to training prompts not scored, since nothing is reported on them.

![Gold of the chosen answer against k for ten rankers: helpful, concise, both over 75 %, both over median]({CURVES})

Bands: 95 % intervals of the two sums and the LSC sum. Lines stand on the same prompts, so that bands that overlap may
still differ: the paired differences below decide. The logit of the product rises with the product, so it chooses the
same answers as the LSC sum at 75 %; in RL, where differences of utilities count, the two differ.
"""


def _dropped(results: Results) -> str:
    """How many pairs were too long."""
    dropped = {name: model["dropped_pairs"] for name, model in results["reward_models"].items()}
    counts = [
        f"{sum(by_split.values())} of {name} ({', '.join(f'{count} {split}' for split, count in by_split.items())})"
        for name, by_split in dropped.items()
    ]
    return f" ({'; '.join(counts)})"


def _levels(results: Results) -> str:
    rows = []
    for name, by_metric in results["curves"].items():
        for k in SHOWN_KS:
            if k == 1 and name != "helpful":
                continue  # best of one is the same for all
            label = "any (k = 1)" if k == 1 else LABELS[name]
            cells = [_shown(by_metric[metric][k - 1], signed=False) for metric in TITLES]
            rows.append([label, str(k), *cells])
    oracle = results["oracle"]
    for k in SHOWN_KS[1:]:
        rows.append(["any of the k (oracle)", str(k), "", "", _shown(oracle[k - 1], signed=False), ""])
    table = markdown_table(["ranker", "k", *TITLES.values()], rows, align="lr" + "r" * len(TITLES))
    return "\n".join(["## The chosen answer\n", *table, ""])


def _compared(results: Results) -> str:
    ks = sorted({int(row["k"]) for row in results["differences"]})
    parts = ["## Paired differences\n", f"![Differences to the raw sum at k = {results['max_k']}]({DIFFERENCES})\n"]
    for baseline, k in product(("raw_sum", "weighted_sum"), ks):
        parts += [f"### To {LABELS[baseline]}, k = {k}\n", *_difference_table(results, baseline, k), ""]
    return "\n".join(parts)


def _difference_table(results: Results, baseline: str, k: int) -> list[str]:
    rows = []
    for name in (name for name in results["curves"] if name != baseline):
        found = [difference(results, name, baseline, metric, k) for metric in TITLES]
        rows.append([LABELS[name], *(_shown(row, signed=True) for row in found)])
    return markdown_table(["ranker", *TITLES.values()], rows, align="l" + "r" * len(TITLES))


def _verdict(results: Results) -> str:
    """Sentences about the LSC sum, each decided by an interval."""
    lines = ["## Where the LSC sum helps, and where it does not\n"]
    for baseline in ("raw_sum", "weighted_sum"):
        for metric in TITLES:
            rows = [row for row in results["differences"] if _is(row, "lsc_sum", baseline, metric)]
            better = [row["k"] for row in rows if row["low"] > 0]
            worse = [row["k"] for row in rows if row["high"] < 0]
            open_ks = [row["k"] for row in rows if row["low"] <= 0 <= row["high"]]
            said = [
                f"{word} at k = {', '.join(map(str, ks))}"
                for word, ks in (("better", better), ("worse", worse), ("not distinguishable", open_ks))
                if ks
            ]
            lines.append(f"* Against the {LABELS[baseline]}, {TITLES[metric]}: {'; '.join(said)}.")
    lines.append(
        "\nThe intervals are not corrected for their number; a single one that excludes 0 narrowly is weak evidence."
    )
    return "\n".join([*lines, ""])


def _models(results: Results) -> str:
    header = [
        "reward model",
        "accuracy on held-out pairs [95 %]",
        "longer wins",
        "test pairs",
        "training pairs",
        "steps",
    ]
    rows = []
    for name, model in results["reward_models"].items():
        low, high = model["accuracy_ci"]
        counts = [str(model[count]) for count in ("test_pairs", "train_pairs", "num_steps")]
        accuracy = f"{model['accuracy']:.3f} [{low:.3f}, {high:.3f}]"
        rows.append([name, accuracy, f"{model['longer_wins_accuracy']:.3f}", *counts])
    shown = ", ".join(f"{pair} {value:+.2f}" for pair, value in results["correlation"].items())
    tuning = ", ".join(f"{ratio}: {share:.3f}" for ratio, share in results["tuning"].items())
    return "\n".join(
        [
            "## What stands behind it\n",
            *markdown_table(header, rows, align="lrrrrr"),
            f"\nCorrelations within prompts: {shown}.",
            f"\nTuned ratio of the weights, helpful over concise: {results['tuned_ratio']:.3g}, by the share of both "
            f"at k = {results['max_k']} on validation prompts ({tuning}).",
            "\nNumbers: [data/best_of_k_real.json](data/best_of_k_real.json); the figures and this page are drawn from "
            "it with `python -m experiments.best_of_k --only-write`.\n",
        ]
    )


def difference(results: Results, ranker: str, baseline: str, metric: str, k: int) -> Mapping[str, Any]:
    """The paired difference of a ranker to a baseline."""
    rows: Sequence[Mapping[str, Any]] = results["differences"]
    return next(row for row in rows if _is(row, ranker, baseline, metric) and row["k"] == k)


def _is(row: Mapping[str, Any], ranker: str, baseline: str, metric: str) -> bool:
    return (row["ranker"], row["baseline"], row["metric"]) == (ranker, baseline, metric)


def _shown(point: Mapping[str, float], *, signed: bool) -> str:
    sign = "+" if signed else ""
    return f"{point['value']:{sign}.3f} [{point['low']:{sign}.3f}, {point['high']:{sign}.3f}]"
