"""The rewards of a finished run in NeMo-RL: an environment, and a start that checks the configuration.

Needs `allgood[scorers]`, `nemo-rl` and a configuration with `env: {allgood: {rewards: rewards_of_first}}`. Call
`register` in your copy of NeMo-RL's `examples/run_grpo.py`, behind the line that reads the configuration:

    nemo_rl_environment.register(config)
"""

from __future__ import annotations

from typing import Any

import ray
from nemo_rl.distributed.ray_actor_environment_registry import ACTOR_ENVIRONMENT_REGISTRY
from nemo_rl.distributed.virtual_cluster import PY_EXECUTABLES
from nemo_rl.environments.utils import register_env

from allgood.integrations.nemo_rl import AllGoodEnvironment, check

# NeMo-RL starts environments as Ray actors, by name.
Environment = ray.remote(max_restarts=-1, max_task_retries=-1)(AllGoodEnvironment)
NAME = "nemo_rl_environment.Environment"


def register(config: Any) -> None:
    """Refuse a configuration that would break the method, and tell NeMo-RL where the environment is."""
    check(config)
    ACTOR_ENVIRONMENT_REGISTRY[NAME] = PY_EXECUTABLES.SYSTEM  # an interpreter that has `allgood`
    register_env("allgood", NAME)
