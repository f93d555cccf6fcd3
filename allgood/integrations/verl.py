"""verl (0.9): the utility as a custom reward function, or as a reward manager that checks the configuration too.

    reward.custom_reward_function.path=pkg://allgood.integrations.verl
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.rewards=rewards_of_first
    reward.reward_manager.source=importlib reward.reward_manager.name=AllGoodRewardManager
    reward.reward_manager.module.path=pkg://allgood.integrations.verl

The last two lines are optional. The manager takes the prompt as messages; `compute_score` needs it in
`extra_info.prompt`. verl has no row without a reward, so that a failed one stops the training. With
`algorithm.adv_estimator=rloo`, `algorithm.use_kl_in_reward=True` and `algorithm.kl_penalty=kl` (k1),
`algorithm.kl_ctrl.kl_coef` is gamma.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from allgood.errors import ConfigError
from allgood.integrations.sharing import (
    ends_cut,
    logged_rows,
    opened,
    refuse_failed,
    refuse_penalty,
    refuse_scale,
    require_end_tokens,
    warn_of,
)

_WITH_STD = ("grpo", "grpo_vectorized", "grpo_passk")
_WHITENED = ("gae", "reinforce_plus_plus", "reinforce_plus_plus_baseline")
_RLOO = ("rloo", "rloo_vectorized")


async def compute_score(
    data_source: object,
    solution_str: str,
    ground_truth: object,
    extra_info: Mapping[str, Any],
    *,
    rewards: str,
    **_: Any,
) -> dict[str, float]:
    """The utility as `score`, and what every property says alongside; verl calls it once per response.

    Args:
        data_source: Not looked at.
        solution_str: The response.
        ground_truth: Not looked at.
        extra_info: Column of the data set; `prompt` in it is the prompt, messages or text.
        rewards: Folder or file of the rewards, from `reward_kwargs`.

    Raises:
        ConfigError: There is no prompt, or a penalty for cut answers.
        DataError: The row failed.
    """
    if "prompt" not in extra_info:
        raise ConfigError("extra_info has no `prompt`; put the prompt there, or use the reward manager of this module")
    scorer = opened(rewards)
    refuse_penalty(scorer, trainer="compute_score of verl")
    return await _scored(rewards, extra_info["prompt"], solution_str, was_cut=None)


async def _scored(rewards: str, prompt: Any, response: str, *, was_cut: bool | None) -> dict[str, float]:
    prompt = prompt if isinstance(prompt, str) else list(prompt)  # rows of parquet come as arrays
    cut = None if was_cut is None else np.array([was_cut])
    scores = await opened(rewards).score_async([prompt], [response], was_cut=cut)
    refuse_failed(scores, trainer="verl")
    return {"score": float(scores.total[0]), **logged_rows(scores)[0]}


class AllGoodRewardManager:
    """A reward manager of verl's reward loop; it has the interface of `RewardManagerBase`, and checks what it is given.

    With a penalty for cut answers `reward_kwargs.end_token_ids` must list the ids that end a response.

    Raises:
        ConfigError: `check` refuses the configuration, or end tokens are needed.
        AllgoodError: The rewards cannot be loaded.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Callable[..., Any] | None = None, **_: Any) -> None:
        check(config)
        self.tokenizer = tokenizer
        settings = _settings(config)
        self.rewards = settings["rewards"]
        self.end_token_ids = frozenset(settings.get("end_token_ids", ()))
        require_end_tokens(opened(self.rewards), self.end_token_ids)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Score the last row of a `DataProto`: `reward_score` is the utility, `reward_extra_info` all components.

        Raises:
            DataError: The row failed.
        """
        row = data[-1:][0]
        response_ids = row.batch["responses"]
        num_tokens = int(row.batch["attention_mask"][-response_ids.shape[-1] :].sum())
        kept = response_ids[:num_tokens].tolist()
        text = await asyncio.to_thread(self.tokenizer.decode, kept, skip_special_tokens=True)
        was_cut = bool(ends_cut([kept], self.end_token_ids)[0]) if self.end_token_ids else None
        found = await _scored(self.rewards, row.non_tensor_batch["raw_prompt"], text, was_cut=was_cut)
        return {"reward_score": found["score"], "reward_extra_info": found}

    @classmethod
    def assemble_rm_scores(cls, data: Any, scores: list[float]) -> Tensor:
        """The utilities at the last tokens of the responses, [rows, tokens] float32, where verl expects them."""
        num_tokens = data.batch["attention_mask"][:, data.batch["prompts"].shape[1] :].sum(dim=1)
        placed = torch.zeros_like(data.batch["responses"], dtype=torch.float32)
        placed[torch.arange(len(placed)), num_tokens - 1] = torch.tensor(scores)
        return placed


def check(config: Any) -> None:
    """Refuse a configuration of verl's trainer that would break the method; warn of what changes gamma.

    Raises:
        ConfigError: Names the key, or there are no rewards in `reward_kwargs`.
        AllgoodError: The rewards cannot be loaded.
    """
    algorithm, actor = config.algorithm, config.actor_rollout_ref.actor
    scorer = opened(_settings(config)["rewards"])
    estimator = str(algorithm.adv_estimator)
    scale = "none"
    if estimator == "gdpo":
        scale = "normalise_then_sum"
    elif estimator in _WITH_STD and algorithm.norm_adv_by_std_in_grpo:
        scale = "group_std"
    elif estimator in _WHITENED:
        scale = "batch_std"
    refuse_scale(
        scorer,
        scale,
        kl_in_reward=not actor.use_kl_loss,
        switch=f"algorithm.adv_estimator={estimator} (set rloo and use_kl_in_reward, or norm_adv_by_std_in_grpo=False)",
    )
    warn_of(_cautions(config, estimator))


def _settings(config: Any) -> Mapping[str, Any]:
    function = config.reward.custom_reward_function
    settings: Mapping[str, Any] = function.get("reward_kwargs") or {}
    if "rewards" not in settings:
        raise ConfigError(
            "reward.custom_reward_function.reward_kwargs.rewards is missing: the folder that `allgood export-rewards` "
            "wrote, or a rewards.yaml"
        )
    return settings


def _cautions(config: Any, estimator: str) -> Iterator[str]:
    algorithm, actor = config.algorithm, config.actor_rollout_ref.actor
    if not algorithm.use_kl_in_reward and not actor.use_kl_loss:
        yield "use_kl_in_reward and use_kl_loss are off: nothing holds the policy near pi_0"
    elif actor.use_kl_loss:
        yield "actor.kl_loss_coef weighs KL per token in the loss: no value of it is gamma; use_kl_in_reward has one"
    elif estimator not in _RLOO or str(algorithm.kl_penalty) not in ("kl", "k1"):
        yield "kl_ctrl.kl_coef is gamma only with adv_estimator=rloo and kl_penalty=kl"
    rollout = config.actor_rollout_ref.rollout
    if rollout.temperature != 1 or rollout.top_p != 1:
        yield "responses are not drawn from the policy as it is, but reference points of a run are"
