"""slime (0.3) and miles: the utility as `custom_rm`, and the baseline of each prompt as the hook after it.

    --custom-rm-path allgood.integrations.slime.custom_rm --reward-key utility
    --custom-reward-post-process-path allgood.integrations.slime.centred
    --custom-config-path rewards_of_slime.yaml      # allgood_rewards: rewards_of_first

Both see all arguments and refuse those that would break the method, at their first call. A failed row is marked
`remove_sample`: `centred` leaves it out of the baseline and slime out of the loss. `reinforce_plus_plus` refuses such
rows and stops; there `--kl-coef` with `--kl-loss-type k1` is gamma, and with no other estimator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from allgood.advantages import rloo
from allgood.errors import ConfigError, DataError
from allgood.guards import kept_rows
from allgood.integrations.sharing import logged_rows, opened, warn_of

_HOOK = "allgood.integrations.slime.centred"


async def custom_rm(args: Any, sample: Any, **_: Any) -> dict[str, float] | list[dict[str, float]]:
    """`utility` in nats and all components of a sample, or of each in a list (`--group-rm`); NaN where it failed.

    Args:
        args: slime's arguments, with `allgood_rewards`, the folder or file of the rewards.
        sample: With `prompt` (messages, or what the template rendered), `response` and `status`.

    Raises:
        ConfigError: `check` refuses the arguments.
        AllgoodError: As in `AllGoodScorer.score`.
    """
    check(args)
    samples = sample if isinstance(sample, list) else [sample]
    prompts, responses = [one.prompt for one in samples], [one.response for one in samples]
    was_cut = np.array([one.status.value == "truncated" for one in samples], dtype=np.bool_)
    scores = await opened(args.allgood_rewards).score_async(prompts, responses, was_cut=was_cut)
    for one, known in zip(samples, scores.ok, strict=True):
        one.remove_sample = one.remove_sample or not known
    rows = [{name.removeprefix("allgood/"): value for name, value in row.items()} for row in logged_rows(scores)]
    return rows if isinstance(sample, list) else rows[0]


def centred(args: Any, samples: Sequence[Any]) -> tuple[list[float], list[float]]:
    """Utilities as they are, NaN where failed, and minus the mean of the other responses to the prompt.

    What has no baseline, because it failed or all others did, is removed from the loss; the number in its place is not
    looked at.

    Raises:
        DataError: No prompt has two responses with a reward.
    """
    check(args)
    utilities = np.array([sample.get_reward_value(args) for sample in samples], dtype=np.float64)
    groups = np.unique([sample.group_index for sample in samples], return_inverse=True)[1]
    kept = kept_rows(utilities, groups)
    if not kept.size:
        raise DataError(f"none of {len(samples)} responses has a reward and another of its prompt to compare with")
    advantages = np.zeros(len(samples))
    advantages[kept] = rloo(torch.from_numpy(utilities[kept]), torch.from_numpy(groups[kept])).numpy()
    for row in set(range(len(samples))) - set(kept.tolist()):
        samples[row].remove_sample = True
    return utilities.tolist(), advantages.tolist()


def check(args: Any) -> None:
    """Refuse arguments of slime that would break the method; warn, once, of what changes gamma.

    Raises:
        ConfigError: Names the argument and what to set instead.
    """
    if "allgood_rewards" not in vars(args):
        raise ConfigError(
            "allgood_rewards is missing in the file of --custom-config-path: the folder that `allgood export-rewards` "
            "wrote, or a rewards.yaml"
        )
    if args.custom_reward_post_process_path != _HOOK:
        raise ConfigError(
            f"set --custom-reward-post-process-path {_HOOK}: without it a failed row spoils its group, and GRPO "
            "divides by the standard deviation, which erases how far a prompt is from good"
        )
    if args.reward_key != "utility":
        raise ConfigError(f"--reward-key must be utility, not {args.reward_key}")
    if args.normalize_advantages and args.kl_loss_coef:
        raise ConfigError(
            "--normalize-advantages divides the utility by a standard deviation while --kl-loss-coef stands outside, "
            "so gamma changes with every batch; use --kl-coef, or leave the normalisation out"
        )
    _warn_once(tuple(_cautions(args)))


@lru_cache
def _warn_once(cautions: tuple[str, ...]) -> None:
    warn_of(cautions)


def _cautions(args: Any) -> Iterator[str]:
    if not args.kl_coef and not args.kl_loss_coef:
        yield "--kl-coef and --kl-loss-coef are 0: nothing holds the policy near pi_0"
    elif args.advantage_estimator != "reinforce_plus_plus" or not args.kl_coef or args.kl_loss_type != "k1":
        yield "--kl-coef is gamma only with --advantage-estimator reinforce_plus_plus and --kl-loss-type k1"
    if not math.isclose(args.rollout_temperature, 1.0) or not math.isclose(args.rollout_top_p, 1.0):
        yield "responses are not drawn from the policy as it is, but reference points of a run are"
