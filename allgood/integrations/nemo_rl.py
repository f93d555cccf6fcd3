"""NeMo-RL (0.6): the utility as an environment, for batches of message logs.

NeMo-RL starts environments as Ray actors by their name, so the class is wrapped in a module of yours:

    # my_environment.py
    Environment = ray.remote(max_restarts=-1, max_task_retries=-1)(AllGoodEnvironment)

which `register_env("allgood", "my_environment.Environment")` names, with `env.allgood.rewards` in the configuration.
`check(config)` belongs before the start. NeMo-RL has no row without a reward: a failed one stops the training. Its KL
is k3 per token in the loss, or k1 without the tokens that follow (`reinforce_plus_plus`): no coefficient is gamma.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from allgood.errors import ConfigError
from allgood.integrations.sharing import refuse_failed, refuse_penalty, refuse_scale, warn_of
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.models import load_tokenizer
from allgood.scorers.policy_texts import Text
from allgood.scorers.template_text import TemplateText

Message = Mapping[str, Any]
"""{role, content}, and tokens that are not looked at."""


class EnvironmentReturn(NamedTuple):
    """The fields of NeMo-RL's tuple of this name, in its order; each has an entry per row."""

    observations: list[dict[str, str]]
    metadata: list[None]
    next_stop_strings: list[None]
    rewards: Tensor
    terminateds: Tensor
    answers: list[str | None]


class AllGoodEnvironment:
    """An environment of one turn; its interface is that of `EnvironmentInterface`.

    Args:
        config: The section of the environment: `rewards` is their folder or file.

    Raises:
        ConfigError: `rewards` is missing, or has a penalty for cut answers: NeMo-RL does not say which were cut.
        AllgoodError: The rewards cannot be loaded.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.scorer = _rewards_of(config)
        refuse_penalty(self.scorer, trainer="NeMo-RL")
        template = self.scorer.spec.policy_template
        self._template = None if template is None else TemplateText(load_tokenizer(template))

    def step(self, message_log_batch: Sequence[Sequence[Message]], metadata: Sequence[Any]) -> EnvironmentReturn:
        """Score the last message of each log, the answer to what comes before.

        Raises:
            DataError: A row failed.
        """
        prompts = [self._prompt(log[:-1]) for log in message_log_batch]
        answers = [str(log[-1]["content"]) for log in message_log_batch]
        scores = self.scorer.score(prompts, answers)
        refuse_failed(scores, trainer="NeMo-RL")
        num_rows = len(answers)
        return EnvironmentReturn(
            observations=[{"role": "environment", "content": ""} for _ in answers],
            metadata=[None] * num_rows,
            next_stop_strings=[None] * num_rows,
            rewards=torch.from_numpy(scores.total).float(),
            terminateds=torch.ones(num_rows, dtype=torch.bool),
            answers=list(answers),
        )

    def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, Any]]:
        """Nothing is left to do: the batch as it is, and no further numbers."""
        return batch, {}

    def _prompt(self, log: Sequence[Message]) -> Text:
        """Processors of NeMo-RL put what the chat template wrote into the content of messages, cut at their ends."""
        rendered = "".join(str(message["content"]) for message in log)
        if len(log) == 1 or (self._template is not None and self._template.is_rendering(rendered)):
            return rendered
        return [{"role": message["role"], "content": message["content"]} for message in log]


def check(config: Any, *, environment: str = "allgood") -> None:
    """Refuse a master configuration of NeMo-RL's GRPO that would break the method; warn of what changes gamma.

    Args:
        config: With the sections `grpo`, `loss_fn`, `policy` and `env`.
        environment: Name of our section in `env`.

    Raises:
        ConfigError: Names the key, what it does to log-probabilities, and what to set instead.
        AllgoodError: The rewards cannot be loaded.
    """
    grpo, loss = config.grpo, config.loss_fn
    scorer = _rewards_of(config.env[environment])
    if grpo.reward_scaling.enabled:
        raise ConfigError(
            "grpo.reward_scaling clamps rewards to its source range, and log-probabilities lie below it; disable it"
        )
    if grpo.reward_shaping.enabled and grpo.reward_shaping.stop_properly_penalty_coef is not None:
        raise ConfigError(
            "grpo.reward_shaping.stop_properly_penalty_coef multiplies a log-probability, so that a cut answer gets a "
            "better reward; leave it out (overlong_buffer_penalty subtracts, and may stay)"
        )
    estimator = grpo.adv_estimator
    scales = {"gdpo": "normalise_then_sum", "reinforce_plus_plus": "batch_std"}
    scale = scales.get(estimator.name, "group_std" if estimator.normalize_rewards else "none")
    refuse_scale(
        scorer,
        scale,
        kl_in_reward=bool(loss.use_kl_in_reward),
        switch=f"grpo.adv_estimator.name {estimator.name} (set grpo, with normalize_rewards false)",
    )
    warn_of(_cautions(config))


def _rewards_of(section: Mapping[str, Any]) -> AllGoodScorer:
    if "rewards" not in section:
        raise ConfigError(
            "`rewards` is missing in the environment's section: the folder that `allgood export-rewards` wrote, or a "
            "rewards.yaml"
        )
    return AllGoodScorer.from_config(section["rewards"])


def _cautions(config: Any) -> Iterator[str]:
    if not config.loss_fn.reference_policy_kl_penalty:
        yield "loss_fn.reference_policy_kl_penalty is 0: nothing holds the policy near pi_0"
    else:
        yield "loss_fn.reference_policy_kl_penalty is not gamma: KL is taken token by token, without what follows"
    if config.policy["generation"]["temperature"] != 1:
        yield "responses are not drawn from the policy as it is, but reference points of a run are"
