"""Rewards of two models in, log P(all good) and advantages out: one step of a training loop of your own.

Needs `allgood` only. The rewards here are drawn at random; in your loop they come from your reward models.

python examples/combine_rewards.py
"""

from __future__ import annotations

import numpy as np
import torch

from allgood.advantages import rloo
from allgood.all_good import AllGood
from allgood.formula import Formula
from allgood.objectives import FormulaUtility
from allgood.references import gaussian_quantile
from allgood.treatment import Treatment

PROMPT_IDS = ["kettle", "river", "bread"]
GAMMA = 0.1  # the KL coefficient


def quantile_per_prompt(rewards: np.ndarray, quantile: float) -> dict[str, float]:
    """r_ref: the reward that a good answer to each prompt has, from rewards [prompts, samples] of the start policy."""
    values = gaussian_quantile(torch.from_numpy(rewards), quantile).value
    return dict(zip(PROMPT_IDS, values.tolist(), strict=True))


def drawn(mean: float, std: float, num_samples: int, *, seed: int) -> np.ndarray:
    """Numbers in place of a model's, [prompts, samples] float32."""
    return np.random.default_rng(seed).normal(mean, std, (len(PROMPT_IDS), num_samples)).astype(np.float32)


def main() -> None:
    """Set up once, then what each step does."""
    # Once: rewards of 64 samples of the start policy per prompt give the reference points.
    samples = {"helpful": drawn(0.0, 1.0, 64, seed=0), "harmless": drawn(2.0, 3.0, 64, seed=1)}
    all_good = AllGood(
        properties={
            name: Treatment(transform="log_sigmoid", references=quantile_per_prompt(rewards, 0.85))
            for name, rewards in samples.items()
        },
        objective=FormulaUtility(Formula("helpful & harmless")),
    )

    # In each step: rewards of 4 responses per prompt, and their summed log-ratio to the start policy.
    rewards = {"helpful": drawn(0.5, 1.0, 4, seed=2), "harmless": drawn(2.0, 3.0, 4, seed=3)}
    kl = drawn(1.0, 0.5, 4, seed=4)
    judged = all_good.of_rewards(rewards, PROMPT_IDS)
    advantages = rloo(torch.from_numpy(judged.utilities - GAMMA * kl))

    print("prompt    log P(all good)                   advantages")
    for prompt, utilities, row in zip(PROMPT_IDS, judged.utilities, advantages, strict=True):
        print(f"{prompt:<8}", "".join(f"{u:8.3f}" for u in utilities), "".join(f"{a:8.3f}" for a in row.tolist()))


if __name__ == "__main__":
    main()
