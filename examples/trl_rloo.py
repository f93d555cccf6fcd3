"""Train a policy in TRL on the rewards of a finished run, or on a `rewards.yaml` of your own.

Needs `allgood[scorers]` and `trl`. REWARDS is what `allgood export-rewards` wrote, POLICY a folder or a hub name.

python examples/trl_rloo.py REWARDS POLICY "How do I descale a kettle?" "Name a river."
"""

from __future__ import annotations

import sys
from typing import Any

from datasets import Dataset
from trl import RLOOConfig, RLOOTrainer

from allgood.integrations.trl import AllGoodReward, check

GAMMA = 0.1  # the KL coefficient


def train(rewards: str, policy: str, questions: list[str], **settings: Any) -> None:
    """Train on the questions and print what TRL logged last; `settings` are those of `RLOOConfig`."""
    prompts = [[{"role": "user", "content": question}] for question in questions]
    trainer = RLOOTrainer(
        policy,
        reward_funcs=AllGoodReward(rewards),
        args=RLOOConfig(beta=GAMMA, **settings),  # KL is summed over the response and subtracted: beta is gamma
        train_dataset=Dataset.from_dict({"prompt": prompts * 64}),
    )
    check(trainer)  # refuses what would break the method, before the first step
    trainer.train()
    logged = {name: value for entry in trainer.state.log_history for name, value in entry.items()}
    print(f"utility {logged['allgood/utility']:.3f}")
    print(f"KL {logged['kl']:.3f} nats per token")


if __name__ == "__main__":
    train(
        sys.argv[1], sys.argv[2], sys.argv[3:], output_dir="trl_rloo", num_generations=8, max_steps=100, logging_steps=1
    )
