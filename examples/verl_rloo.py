"""Train a policy in verl on the rewards of a finished run, or on a `rewards.yaml` of your own.

Needs `allgood[scorers]`, `verl` with vLLM, and a GPU. REWARDS is what `allgood export-rewards` wrote or the address of
`allgood serve`, POLICY a folder or a hub name. Writes the prompts as verl reads them and starts its trainer:

python examples/verl_rloo.py REWARDS POLICY "How do I descale a kettle?" "Name a river."
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from datasets import Dataset

GAMMA = 0.1  # the KL coefficient


def write_prompts(questions: list[str], path: Path) -> None:
    """A row per question. The prompt stands in `extra_info` too, where verl's own reward manager gives it to us."""
    rows = []
    for index, question in enumerate(questions * 64):
        prompt = [{"role": "user", "content": question}]
        rows.append(
            {
                "data_source": "questions",
                "prompt": prompt,
                "reward_model": {"style": "model", "ground_truth": ""},  # verl asks for it; nobody reads it
                "extra_info": {"index": index, "prompt": prompt},
            }
        )
    Dataset.from_list(rows).to_parquet(path)


def arguments(rewards: str, policy: str, prompts: Path) -> list[str]:
    """What verl's trainer is told. The first block is ours, the second one depends on policy and machine."""
    return [
        "reward.custom_reward_function.path=pkg://allgood.integrations.verl",
        "reward.custom_reward_function.name=compute_score",
        f"+reward.custom_reward_function.reward_kwargs.rewards={rewards}",
        "reward.reward_manager.source=importlib",
        "reward.reward_manager.name=AllGoodRewardManager",  # refuses what would break the method
        "reward.reward_manager.module.path=pkg://allgood.integrations.verl",
        "algorithm.adv_estimator=rloo",
        "algorithm.use_kl_in_reward=True",  # KL is summed over the response and subtracted: kl_coef is gamma
        "algorithm.kl_penalty=kl",
        f"algorithm.kl_ctrl.kl_coef={GAMMA}",
        "actor_rollout_ref.actor.use_kl_loss=False",
        "actor_rollout_ref.rollout.temperature=1.0",
        #
        f"data.train_files={prompts}",
        f"data.val_files={prompts}",
        "data.train_batch_size=16",
        "data.max_prompt_length=256",
        "data.max_response_length=256",
        f"actor_rollout_ref.model.path={policy}",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.n=8",
        "actor_rollout_ref.actor.ppo_mini_batch_size=16",
        "actor_rollout_ref.actor.use_dynamic_bsz=True",
        "trainer.n_gpus_per_node=1",
        "trainer.total_epochs=1",
        "trainer.logger=console",
    ]


if __name__ == "__main__":
    prompts = Path("verl_prompts.parquet").resolve()
    write_prompts(sys.argv[3:], prompts)
    started = [sys.executable, "-m", "verl.trainer.main_ppo", *arguments(sys.argv[1], sys.argv[2], prompts)]
    os.execv(sys.executable, started)
