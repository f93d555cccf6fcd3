"""The rewards of a finished run in OpenRLHF: the file that `--reward.remote_url` names.

Needs `allgood[scorers]` and `openrlhf`. REWARDS is what `allgood export-rewards` wrote, or a `rewards.yaml`. With the
same arguments, `python -m allgood.integrations.openrlhf` refuses what would break the method, before you start:

python -m openrlhf.cli.train_ppo_ray --reward.remote_url examples/openrlhf_reward.py \
    --algo.advantage.estimator rloo --algo.kl.init_coef 0.1 \
    --algo.dynamic_filtering_enable --algo.dynamic_filtering_range 0 1 ...
"""

from __future__ import annotations

from pathlib import Path

from allgood.integrations.openrlhf import AllGoodReward

REWARDS = Path(__file__).with_name("rewards_of_first")

reward_func = AllGoodReward(REWARDS, filtering=True)  # with --algo.dynamic_filtering_enable: drops what has no reward
