"""TRL (1.16): the utility as the reward function of `GRPOTrainer` and `RLOOTrainer`.

    reward = AllGoodReward("rewards_of_first")          # what `allgood export-rewards` wrote, or a rewards.yaml
    trainer = RLOOTrainer(model, reward_funcs=reward, args=RLOOConfig(beta=0.1, ...), ...)
    check(trainer)                                      # before trainer.train()

A failed row is None: both trainers leave it out of the baseline and give it no advantage. In `RLOOTrainer` `beta` is
gamma: its KL is k1 summed over the response and subtracted before the leave-one-out baseline. `GRPOTrainer` has no such
number: its `beta` weighs k3 per token in the loss.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from allgood.errors import ConfigError
from allgood.integrations.sharing import (
    Source,
    ends_cut,
    logged_means,
    open_rewards,
    refuse_scale,
    require_end_tokens,
    rewards_or_none,
    warn_of,
)
from allgood.scorers.policy_texts import Text

_SCALES = {"group": "group_std", "batch": "batch_std", "none": "none"}


class AllGoodReward:
    """A reward function of TRL, for prompts as texts or as messages. It pickles, also into the process of AsyncGRPO.

    Args:
        source: Folder or file of the rewards, or a scorer.
        end_token_ids: Ids that end a response; needed where the rewards have a penalty for cut answers.

    Raises:
        AllgoodError: The rewards cannot be loaded, or end tokens are needed.
    """

    def __init__(self, source: Source, *, end_token_ids: Collection[int] = ()) -> None:
        self.scorer = open_rewards(source)
        self.end_token_ids = frozenset(end_token_ids)
        require_end_tokens(self.scorer, self.end_token_ids)

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] = (),
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: object,
    ) -> list[float | None]:
        """Utilities in nats, None where a row failed; `columns` of the dataset are not looked at.

        Raises:
            DataError: Every row failed.
            AllgoodError: As in `AllGoodScorer.score`.
        """
        was_cut = ends_cut(completion_ids, self.end_token_ids) if self.end_token_ids else None
        scores = self.scorer.score(prompts, completions, was_cut=was_cut)
        if log_metric is not None:
            for name, mean in logged_means(scores).items():
                if not math.isnan(mean):  # would make the mean of the whole log NaN
                    log_metric(name, mean)
        if log_extra is not None:
            log_extra("allgood/failed because", list(scores.reasons))
        return rewards_or_none(scores)


class AllGoodRewardAsync:
    """The same as a coroutine, for a trainer that has something else to await meanwhile. Arguments as above."""

    def __init__(self, source: Source, *, end_token_ids: Collection[int] = ()) -> None:
        self.reward = AllGoodReward(source, end_token_ids=end_token_ids)

    async def __call__(
        self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any
    ) -> list[float | None]:
        """See `AllGoodReward.__call__`."""
        return await asyncio.to_thread(self.reward, prompts, completions, **columns)


def check(trainer: GRPOTrainer | RLOOTrainer) -> None:
    """Refuse a trainer whose switches would break the method, and warn of those that only change what gamma means.

    Raises:
        ConfigError: Names the switch, what it does to log-probabilities, and what to set instead.
    """
    ours = _reward_of(trainer)
    args = trainer.args
    if args.reward_weights not in (None, [1.0]):
        raise ConfigError(
            f"reward_weights {args.reward_weights} multiplies the utility, which divides gamma by as much; leave it out"
        )
    if ours.end_token_ids and ours.end_token_ids != set(trainer.eos_token_ids):
        raise ConfigError(
            f"end_token_ids of the reward are {sorted(ours.end_token_ids)}, but the trainer ends responses at "
            f"{sorted(trainer.eos_token_ids)}; a finished answer would be taken for a cut one"
        )
    if isinstance(args, GRPOConfig):
        gdpo = args.multi_objective_aggregation == "normalize_then_sum"
        refuse_scale(
            ours.scorer,
            "normalise_then_sum" if gdpo else _SCALES[args.scale_rewards],
            kl_in_reward=False,
            switch=f"set scale_rewards='none', not {args.scale_rewards!r}, and leave multi_objective_aggregation out",
        )
    warn_of(_cautions_of_both(args))
    warn_of(_of_grpo(args) if isinstance(args, GRPOConfig) else _of_rloo(args))


def _reward_of(trainer: GRPOTrainer | RLOOTrainer) -> AllGoodReward:
    """The trainer's one reward function, which must be ours."""
    if len(trainer.reward_funcs) != 1:
        raise ConfigError(
            f"the trainer has {len(trainer.reward_funcs)} reward functions: where ours fails, TRL would count it as 0, "
            "the best value there is; make the others properties (kind: function) of the same rewards"
        )
    (found,) = trainer.reward_funcs
    if isinstance(found, AllGoodRewardAsync):
        return found.reward
    if not isinstance(found, AllGoodReward):
        raise ConfigError(f"the trainer's reward function is {found!r}; give AllGoodReward or AllGoodRewardAsync")
    return found


def _cautions_of_both(args: GRPOConfig | RLOOConfig) -> Iterator[str]:
    if args.beta == 0:
        yield "beta is 0: nothing holds the policy near pi_0, and it will leave the texts that the reward models know"
    if args.sync_ref_model:
        yield "sync_ref_model moves the policy that KL is measured from; reference points stay those of pi_0"
    shaped = {
        "temperature": args.temperature != 1.0,
        "top_p": args.top_p != 1.0,
        "top_k": bool(args.top_k),
        "min_p": bool(args.min_p),
        "repetition_penalty": args.repetition_penalty != 1.0,
    }
    if names := [name for name, differs in shaped.items() if differs]:
        yield f"{', '.join(names)}: responses are not drawn from the policy as it is, but reference points of a run are"


def _of_grpo(args: GRPOConfig) -> Iterator[str]:
    if args.loss_type != "dr_grpo":
        yield f"loss_type {args.loss_type!r} divides by the lengths of responses; 'dr_grpo' divides by a constant"
    if args.beta != 0:
        yield "beta of GRPO weighs k3 per token in the loss: no value of it is gamma; RLOOTrainer has one that is"


def _of_rloo(args: RLOOConfig) -> Iterator[str]:
    if args.reward_clip_range:
        yield (
            f"reward_clip_range {args.reward_clip_range} cuts utilities: outside of it a better answer is worth no more"
        )
    if args.normalize_advantages:
        yield "normalize_advantages divides utility and KL by one number: gamma stays, the learning rate does not"
