"""SkyRL (skyrl-gym 0.4): the utility as a text environment of one turn.

    skyrl_gym.register("allgood", "allgood.integrations.skyrl:AllGoodEnv", kwargs={"rewards": "rewards_of_first"})

in the program that starts the training, with `env_class="allgood"` in the data; `check(config, "rewards_of_first")`
belongs before the start. SkyRL has no row without a reward: a failed one stops the training. With the estimator `rloo`,
`use_kl_in_reward` and `kl_estimator_type: k1`, `trainer.algorithm.kl_loss_coef` is gamma.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput, ConversationType

from allgood.errors import ConfigError
from allgood.integrations.sharing import logged_rows, opened, refuse_failed, refuse_penalty, refuse_scale, warn_of

_WHITENED = ("gae", "reinforce++")


class AllGoodEnv(BaseTextEnv):
    """SkyRL makes one for each response; the rewards are loaded once per process.

    Args:
        rewards: Folder or file of the rewards.
        env_config: What SkyRL has for its own environments, not looked at, nor is the row of the data set, `extras`.

    Raises:
        ConfigError: The rewards have a penalty for cut answers: SkyRL does not say which were cut.
        AllgoodError: The rewards cannot be loaded.
    """

    def __init__(self, *, rewards: str, env_config: object = None, extras: object = None) -> None:
        super().__init__()
        self.scorer = opened(rewards)
        refuse_penalty(self.scorer, trainer="SkyRL")
        self.prompt: ConversationType = []
        self.components: dict[str, float] = {}

    def init(self, prompt: ConversationType) -> tuple[ConversationType, dict[str, Any]]:
        """Keep the prompt, messages {role, content}."""
        self.prompt = [dict(message) for message in prompt]
        return prompt, {}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Score the response `action`.

        Raises:
            DataError: The row failed.
        """
        scores = self.scorer.score([self.prompt], [action])
        refuse_failed(scores, trainer="SkyRL")
        (self.components,) = logged_rows(scores)
        reward = float(scores.total[0])
        return BaseTextEnvStepOutput(observations=[], reward=reward, done=True, metadata=dict(self.components))

    def get_metrics(self) -> dict[str, Any]:
        """Rewards, margins, utilities and P(good), which SkyRL averages over the batch."""
        return dict(self.components)


def check(config: Any, rewards: str) -> None:
    """Refuse a configuration of SkyRL's trainer that would break the method; warn of what changes gamma.

    Args:
        config: With the sections `trainer` and `generator`.
        rewards: Folder or file of the rewards.

    Raises:
        ConfigError: Names the key, what it does to log-probabilities, and what to set instead.
        AllgoodError: The rewards cannot be loaded.
    """
    algorithm = config.trainer.algorithm
    if config.generator.zero_reward_on_non_stop:
        raise ConfigError(
            "generator.zero_reward_on_non_stop gives a cut answer 0, which is the best log-probability; leave it off"
        )
    estimator = str(algorithm.advantage_estimator)
    if estimator == "maxrl":
        raise ConfigError("advantage_estimator maxrl divides by the mean reward, which is below 0 here; set rloo")
    group = estimator == "grpo" and algorithm.grpo_norm_by_std
    batch = algorithm.advantage_batch_normalize or estimator in _WHITENED
    refuse_scale(
        opened(rewards),
        "group_std" if group else "batch_std" if batch else "none",
        kl_in_reward=bool(algorithm.use_kl_in_reward),
        switch=f"trainer.algorithm.advantage_estimator {estimator} (set rloo with use_kl_in_reward, or no std)",
    )
    warn_of(_cautions(config, estimator))


def _cautions(config: Any, estimator: str) -> Iterator[str]:
    algorithm = config.trainer.algorithm
    if not algorithm.use_kl_in_reward and not algorithm.use_kl_loss:
        yield "use_kl_in_reward and use_kl_loss are off: nothing holds the policy near pi_0"
    elif algorithm.use_kl_loss or algorithm.kl_estimator_type != "k1" or estimator != "rloo":
        yield "kl_loss_coef is gamma only with advantage_estimator rloo, use_kl_in_reward and kl_estimator_type k1"
    if config.generator.sampling_params.temperature != 1 or config.generator.sampling_params.top_p != 1:
        yield "responses are not drawn from the policy as it is, but reference points of a run are"
