"""Score answers with the rewards of a finished run, as any trainer can: what `allgood export-rewards RUN` wrote.

Needs `allgood[scorers]`, no Ray and no checkout. FOLDER is the exported folder, or a `rewards.yaml` of your own.

python examples/score_exported.py FOLDER "How do I descale a kettle?" "Boil vinegar in it." "Buy a new one."
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from allgood.scorers.all_good_scorer import AllGoodScorer


def main(arguments: list[str]) -> None:
    """Load the folder, score answers to one prompt, print a line for each."""
    folder, prompt, *answers = arguments
    scorer = AllGoodScorer.from_config(folder)
    prompts = [[{"role": "user", "content": prompt}]] * len(answers)  # text would do as well
    was_cut = np.zeros(len(answers), dtype=np.bool_)  # your trainer knows which answers hit its length limit
    scores = asyncio.run(scorer.score_async(prompts, answers, was_cut=was_cut))  # `score` is the same, not async

    print("utility", *scores.properties, "answer", sep="  ")
    for answer, row in zip(answers, scores.answer()["rows"], strict=True):
        if not row["ok"]:  # drop it: 0 would be the best utility there is
            print(f"failed ({row['reason']})  {answer}")
            continue
        shares = [f"{found['p_good']:.3f} ({found['reference_from']})" for found in row["properties"].values()]
        print(f"{row['utility']:.3f}", *shares, answer, sep="  ")
    print("nothing failed" if scores.ok.all() else f"{int((~scores.ok).sum())} of {len(answers)} rows failed")


if __name__ == "__main__":
    main(sys.argv[1:])
