"""What silently destroys the method is refused where a run starts: settings before anything expensive, rewards that do
not fit their transform as soon as the first are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from actors.learning.specs import Ppo
from actors.messages import Experience, FloatRow, Scores
from allgood.errors import RoleError, TrainingError
from allgood.guards import refuse_default_rewards, refuse_squashed_rewards
from allgood.kl import choice
from pipelines.config.objectives import LagrangianObjective
from pipelines.config.properties import FunctionProperty, HttpProperty, Property
from pipelines.config.rl import FixedController
from pipelines.config.run import RunConfig

# How far apart a token's log-probs may be when sampler and reference policy are the same model, in nats. float32 rounds
# to about 1e-5. Half precision and other kernels give 0.01 to 0.05 on the mean; another policy, some tenths and more.
LARGEST_IN_FLOAT32 = 1e-3
MEAN_OTHERWISE = 0.1


def kl_notice(config: RunConfig) -> str | None:
    """What to tell the user once about a choice of KL whose gradient is not that of the objective; None for k1.

    A loss is exact for samples of the very policy that is updated, so not in PPO's later epochs.
    """
    chosen, algorithm = choice(config.kl.estimator, config.kl.placement), config.align.algorithm
    if not chosen.is_exact:
        return f"kl: {chosen.note}; k1 in the reward is exact"
    if chosen.placement == "loss" and isinstance(algorithm, Ppo) and algorithm.epochs > 1:
        return (
            f"kl: {chosen.note}, which the policy is in the first of align.algorithm.epochs = {algorithm.epochs} only; "
            "k1 in the reward is exact"
        )
    return None


def tilt_notice(config: RunConfig) -> str | None:
    """Why the run does not aim at the tilt by its utility at `kl.coefficient`; None where it does."""
    if isinstance(config.objective, LagrangianObjective):
        return "objective.kind lagrangian learns its multipliers, so training changes the utility that is predicted"
    if not isinstance(config.kl.controller, FixedController):
        return f"kl.controller.kind {config.kl.controller.kind} moves kl.coefficient during training"
    return kl_notice(config)


def refuse_other_sampler(experience: Sequence[Experience], *, in_float32: bool) -> None:
    """Refuse rollouts of version 0 whose log-probs are not the reference policy's, as both are the same policy.

    Args:
        experience: The chunks of a run's first step.
        in_float32: Whether both are exact in float32. Then every token must agree; else the mean over tokens.

    Raises:
        RoleError: They differ by more than LARGEST_IN_FLOAT32, or by MEAN_OTHERWISE on the mean.
    """
    sampled = np.concatenate([row for chunk in experience for row in chunk.rollout.logprobs])
    reference = np.concatenate([row for chunk in experience for row in chunk.reference.rows])
    differences = np.abs(sampled - reference)
    measure, found, bound = (
        ("the largest difference", differences.max(), LARGEST_IN_FLOAT32)
        if in_float32
        else ("the mean difference", differences.mean(), MEAN_OTHERWISE)
    )
    if not found <= bound:  # NaN is refused too
        raise RoleError(
            f"what samples is not the policy: before any update the rollouts' tokens have a mean log-prob of "
            f"{sampled.mean():.4g}, but {reference.mean():.4g} under the reference policy, the same weights "
            f"({measure} of a token is {found:.2g} nats, {bound:g} is allowed); use a model of another "
            "architecture, and report this one"
        )


def refuse_unfit_rewards(properties: Mapping[str, Property], rewards: Mapping[str, FloatRow]) -> None:
    """Refuse what a function or server gives where its transform would make nonsense of it: probabilities, or zeros for
    failures.

    Models are not judged: they are scored here, by their logits, which may well all lie in [0, 1].

    Raises:
        RoleError: Names the property and what to do.
    """
    foreign = {n: setting for n, setting in properties.items() if isinstance(setting, FunctionProperty | HttpProperty)}
    for name, setting in foreign.items():
        values = torch.from_numpy(rewards[name])
        try:
            refuse_squashed_rewards(values, transform=setting.transform.facts.name)
            if _zeros_are_suspect(setting):
                refuse_default_rewards(values)
        except ValueError as error:
            raise RoleError(f"property {name}: {error}") from error


def refuse_too_many_failures(scores: Mapping[str, Scores], *, max_nan_share: float, step: int) -> None:
    """TrainingError when more than `max_nan_share` of a property's scores in this step are NaN."""
    for name, property_scores in scores.items():
        share = float(np.mean(np.isnan(property_scores.view.utilities)))
        if share > max_nan_share:
            raise TrainingError(
                f"step {step}: {share:.0%} of the scores of property {name} are NaN, more than align.max_nan_share = "
                f"{max_nan_share:.0%}; {usual_reason(property_scores) or 'the scorer fails on these responses'}"
            )


def refuse_failing_scorers(scores: Mapping[str, Scores], *, max_share: float) -> None:
    """RoleError when a property's scorer itself failed on more than `max_share` of the responses.

    What a scorer gives NaN for is not counted: where nothing is learned, a response that it does not judge is left out.
    """
    for name, part in scores.items():
        share = part.num_given_up / max(1, len(part.view.rewards))
        if share > max_share:
            raise RoleError(
                f"property {name}: its scorer failed on {share:.0%} of the responses, more than align.max_nan_share = "
                f"{max_share:.0%}; {usual_reason(part)}"
            )


def usual_reason(scores: Scores) -> str:
    """The most frequent reason why a response has no reward; empty where none is known."""
    return Counter(scores.reasons.values()).most_common(1)[0][0] if scores.reasons else ""


def _zeros_are_suspect(setting: FunctionProperty | HttpProperty) -> bool:
    """Not where only order or differences count, nor where the user says that 0 is a score like any other."""
    if isinstance(setting, FunctionProperty) and setting.zero_is_a_score:
        return False
    return setting.transform.facts.expects != "anything"
