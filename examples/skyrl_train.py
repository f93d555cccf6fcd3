"""The rewards of a finished run in SkyRL: an environment is registered and the configuration checked, then it trains.

Needs `allgood[scorers]` and `skyrl[fsdp]`. REWARDS is what `allgood export-rewards` wrote, or a `rewards.yaml`:

python examples/skyrl_train.py rewards_of_first environment.env_class=allgood \
    trainer.algorithm.advantage_estimator=rloo \
    trainer.algorithm.use_kl_in_reward=true trainer.algorithm.use_kl_loss=false \
    trainer.algorithm.kl_estimator_type=k1 trainer.algorithm.kl_loss_coef=0.1 ...
"""

from __future__ import annotations

import sys
from typing import Any

import ray
from skyrl_gym.envs import register as register_environment

from allgood.integrations.skyrl import check


def register(rewards: str) -> None:
    """Tell SkyRL where the environment is, in the process that generates."""
    register_environment("allgood", "allgood.integrations.skyrl:AllGoodEnv", kwargs={"rewards": rewards})


@ray.remote(num_cpus=1)
def train(config: Any, rewards: str) -> None:
    """SkyRL's own training, with our environment."""
    from skyrl.train.entrypoints.main_base import BasePPOExp

    register(rewards)
    BasePPOExp(config).run()


def main(rewards: str, overrides: list[str]) -> None:
    """Read SkyRL's configuration, refuse what would break the method, train."""
    from skyrl.train.config import SkyRLTrainConfig
    from skyrl.train.entrypoints.main_base import validate_cfg
    from skyrl.train.utils import initialize_ray

    config = SkyRLTrainConfig.from_cli_overrides(overrides)
    validate_cfg(config)
    check(config, rewards)
    initialize_ray(config)
    ray.get(train.remote(config, rewards))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
