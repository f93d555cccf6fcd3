"""OpenRLHF (0.11): the utility as the `reward_func` of a file that `--reward.remote_url` names.

    # my_reward.py
    reward_func = AllGoodReward("rewards_of_first", filtering=True)

    python -m allgood.integrations.openrlhf ARGUMENTS && python -m openrlhf.cli.train_ppo_ray ARGUMENTS

The first command refuses arguments that would break the method; the reward function itself never sees them. With the
estimator `rloo`, `--algo.kl.init_coef` is gamma: k1 per token, in the reward, summed over the rest of the response.

OpenRLHF has no row without a reward. With `--algo.dynamic_filtering_enable` a prompt with a failed response is
replaced: its NaN lies in no range. Without, a failed row stops the training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from allgood.errors import AllgoodError, ConfigError
from allgood.integrations.sharing import Source, logged_rows, open_rewards, refuse_failed, refuse_penalty, warn_of

_NO_PREFIX = (
    "the query does not begin with its prompt, which was cut or is decoded to another text; raise --data.max_len, or "
    "check the tokenizer"
)
_STD_INSIDE = ("gae", "reinforce", "reinforce_baseline")


class Answer(TypedDict):
    """What OpenRLHF takes: utilities [rows], what filters prompts [rows], and numbers for the log."""

    rewards: Tensor
    scores: Tensor
    extra_logs: dict[str, Tensor]


class AllGoodReward:
    """A `reward_func` of OpenRLHF. Declare `policy_template` in the rewards: queries are renderings with end tokens.

    Args:
        source: Folder or file of the rewards, or a scorer.
        filtering: Whether the trainer filters dynamically, so that a prompt with a failed response is left out.
        end_tokens: Texts of the tokens that end a response; needed where the rewards have a penalty for cut answers.

    Raises:
        AllgoodError: The rewards cannot be loaded, or end tokens are needed.
    """

    def __init__(self, source: Source, *, filtering: bool, end_tokens: Sequence[str] = ()) -> None:
        self.scorer = open_rewards(source)
        self.filtering = filtering
        self.end_tokens = tuple(end_tokens)
        if not self.end_tokens:
            refuse_penalty(self.scorer, trainer="OpenRLHF without end_tokens")

    def __call__(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[object] = (), **_: object
    ) -> Answer:
        """Score `queries`, each a prompt with its response; OpenRLHF sends them one by one.

        Returns:
            `rewards` = utility in nats; `scores` = P(all good), or the utility where the objective is no probability.

        Raises:
            DataError: A row failed and nothing filters it.
            AllgoodError: As in `AllGoodScorer.score`.
        """
        if any(not query.startswith(prompt) for query, prompt in zip(queries, prompts, strict=True)):
            raise ConfigError(_NO_PREFIX)
        responses = [query[len(prompt) :] for query, prompt in zip(queries, prompts, strict=True)]
        was_cut = np.array([not response.endswith(self.end_tokens) for response in responses])
        scores = self.scorer.score(list(prompts), responses, was_cut=was_cut if self.end_tokens else None)
        if not self.filtering:
            refuse_failed(scores, trainer="OpenRLHF without dynamic filtering")
        utilities, shares, logs = scores.total, scores.judged.p_all_good, logged_rows(scores)
        return {
            "rewards": torch.from_numpy(utilities),
            "scores": torch.from_numpy(utilities if shares is None else shares),
            "extra_logs": {name: torch.tensor([log[name] for log in logs]) for name in (logs[0] if logs else {})},
        }


def check(arguments: Sequence[str]) -> None:
    """Refuse arguments of `openrlhf.cli.train_ppo_ray` that would break the method; warn of what changes gamma.

    Raises:
        ConfigError: Names the argument, what it does to log-probabilities, and what to set instead.
    """
    args, _ = _parser().parse_known_args(list(arguments))
    if args.estimator == "group_norm":
        raise ConfigError(
            "--algo.advantage.estimator group_norm divides by the standard deviation of the prompt's responses, which "
            "erases how far the prompt is from good; set rloo"
        )
    if args.stop_properly is not None:
        raise ConfigError(
            "--reward.stop_properly_penalty_coef multiplies or replaces a log-probability, so that a cut answer gets a "
            "better reward; leave it out, and set missing_eos_penalty in rewards.yaml with end_tokens"
        )
    if args.kl_in_loss and args.estimator in _STD_INSIDE and not args.no_std_norm:
        raise ConfigError(
            f"--algo.advantage.estimator {args.estimator} divides the utility by a standard deviation, and with "
            "--algo.kl.use_loss the KL stands outside, so gamma changes with every batch; leave it out, or set rloo"
        )
    warn_of(_cautions(args))


def _parser() -> argparse.ArgumentParser:
    """The arguments that matter, with the defaults of 0.11."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--algo.advantage.estimator", dest="estimator", default="gae")
    parser.add_argument("--algo.advantage.no_std_norm", dest="no_std_norm", action="store_true")
    parser.add_argument("--algo.advantage.gamma", dest="discount", type=float, default=1.0)
    parser.add_argument("--algo.kl.init_coef", dest="kl_coef", type=float, default=0.01)
    parser.add_argument("--algo.kl.estimator", dest="kl_estimator", default="k1")
    parser.add_argument("--algo.kl.use_loss", dest="kl_in_loss", action="store_true")
    parser.add_argument("--algo.dynamic_filtering_enable", dest="filtering", action="store_true")
    parser.add_argument("--reward.stop_properly_penalty_coef", dest="stop_properly", type=float)
    parser.add_argument("--rollout.temperature", dest="temperature", type=float, default=1.0)
    parser.add_argument("--rollout.top_p", dest="top_p", type=float, default=1.0)
    return parser


def _cautions(args: argparse.Namespace) -> Iterator[str]:
    if args.kl_coef <= 0:
        yield "--algo.kl.init_coef is 0: nothing holds the policy near pi_0"
    elif args.kl_in_loss or args.kl_estimator != "k1":
        yield "--algo.kl.init_coef is gamma only with the estimator k1 in the reward, as by default"
    if args.discount != 1:
        yield "--algo.advantage.gamma is a discount, not gamma of the method: below 1 long answers count less"
    if args.temperature != 1 or args.top_p != 1:
        yield "responses are not drawn from the policy as it is, but reference points of a run are"
    if not args.filtering:
        yield "without --algo.dynamic_filtering_enable a response that cannot be scored stops the training"


def main() -> None:
    """Check the arguments of the command line."""
    try:
        check(sys.argv[1:])
    except AllgoodError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
