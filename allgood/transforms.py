"""Transforms: from a reward r of a response to its utility u.

Most work on the margin z = r - r_ref, some on draws of rewards from the start policy on the same prompt, one on
log-probabilities. Rewards are [prompts, samples] with references [prompts] or [prompts, 1], or both are [rows]; a
constant reference may be a number. A [prompts] reference is always per prompt, also when there are as many samples as
prompts. Everything is computed in float32 (float64 stays float64), whatever the dtype of the input.

NaN and infinity are refused: a failed score has no utility, and 0 would be the best one. So are prompts without a
sample; no prompt and no row at all are none, which a chunk may have come to.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from allgood.checks import in_float, require_finite, require_samples
from allgood.log_space import most_accurate
from allgood.number_checks import Number, require_positive, require_unit


def identity(reward: Tensor, reference: Tensor | Number) -> Tensor:
    """Raw reward, u = r - r_ref, in logits. The reference moves no optimum of the KL-regularised problem, only values.

    Args:
        reward: Rewards [prompts, samples] or [rows], in logits.
        reference: [prompts], [prompts, 1], [rows] or a number, in logits.

    Returns:
        Utilities in the shape of `reward`.

    Raises:
        ValueError: Shapes do not fit, or a value is not finite.

    Source:
        The customary choice; contrastive rewards (arXiv:2403.07708) are the case r_ref = mean under the start policy.
    """
    return margin(reward, reference)


def log_sigmoid(reward: Tensor, reference: Tensor | Number) -> Tensor:
    """Log-probability that the response beats its prompt's reference point, u = log sigma(r - r_ref) <= 0 (LSC).

    The slope is 1 - P(good): bad responses are pushed as by the raw reward, good ones hardly. 0 is the best value.

    Args:
        reward: Rewards [prompts, samples] or [rows], in logits.
        reference: Reward at which a response is good with probability 1/2, from the same model, in logits.

    Returns:
        Natural-log probabilities in the shape of `reward`.

    Raises:
        ValueError: Shapes do not fit, or a value is not finite.

    Source:
        Wang et al. 2024, arXiv:2402.00742.

    >>> log_sigmoid(torch.tensor([[0.0, 2.0]]), torch.tensor([0.0]))
    tensor([[-0.6931, -0.1269]])
    """
    # logsigmoid, never log(sigmoid): the latter is -inf with a NaN gradient from z = -104 down.
    return F.logsigmoid(margin(reward, reference))


def log_prob(value: Tensor) -> Tensor:
    """u = log P(good) of a scorer that gives probabilities itself (a classifier): no reference, no sigmoid.

    Args:
        value: Natural-log probabilities of any shape, at most 0.

    Raises:
        ValueError: A value is above 0 (no log-probability: was a probability or a logit given?) or not finite.

    Source:
        Wang et al. 2024, arXiv:2402.00742, on pointwise scorers, as we understand the paper.
    """
    require_samples("value", value)
    require_finite("value", value)
    if value.numel() and value.detach().max().item() > 0:
        raise ValueError(
            f"value must be log-probabilities, at most 0, but the largest is {value.detach().max().item()}; "
            "for logits use log_sigmoid, for probabilities take their logarithm first"
        )
    return in_float(value)


def sigmoid(reward: Tensor, reference: Tensor | Number) -> Tensor:
    """P(good) itself, u = sigma(r - r_ref) in [0, 1]: bounded below too, so terrible responses get no slope either.

    Source:
        PAR with one reference: Fu et al. 2025, arXiv:2502.18770. Arguments and errors as in `log_sigmoid`.
    """
    return torch.sigmoid(margin(reward, reference))


def tanh(reward: Tensor, reference: Tensor | Number, *, scale: Number = 1.0) -> Tensor:
    """The margin squashed smoothly into +-scale, with slope 1 at the reference.

    Source:
        A bounded squashing of the reward; with scale 2 it equals 4 sigma(z) - 2. Arguments and errors as in
        `log_sigmoid`.
    """
    scale = require_positive("scale", scale)
    return scale * torch.tanh(margin(reward, reference) / scale)


def clip(reward: Tensor, reference: Tensor | Number, *, low: Number = -5.0, high: Number = 5.0) -> Tensor:
    """u = r - r_ref, cut to [low, high]. The slope beyond the bounds is 0.

    Source:
        Reward clipping as in common PPO implementations. Arguments and errors as in `log_sigmoid`.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"low must be below high, both finite, got low={low} and high={high}")
    return margin(reward, reference).clamp(low, high)


def capped(reward: Tensor, reference: Tensor | Number) -> Tensor:
    """u = min(r - r_ref, 0): the raw reward as far as the reference, and no more beyond it.

    With a quantile of pi_0's rewards as reference it is the raw reward capped at that quantile: nothing that pi_0
    hardly ever reaches counts for more. `log_sigmoid` is the same with a rounded corner.

    Source:
        Reward clipping as in common PPO implementations, from above only and per prompt. Arguments and errors as in
        `log_sigmoid`.

    >>> capped(torch.tensor([[0.0, 2.0]]), torch.tensor([1.5]))
    tensor([[-1.5000,  0.0000]])
    """
    return margin(reward, reference).clamp(max=0.0)


def power(reward: Tensor, reference: Tensor | Number, *, risk_aversion: Number = 0.5) -> Tensor:
    """Power (CRRA) utility of p = P(good): u = (p^a - 1) / a with a = 1 - risk_aversion.

    A dial between two other transforms: risk_aversion 1 is `log_sigmoid`, 0 is `sigmoid` minus 1. Values in (-1/a, 0].

    Args:
        reward: As in `log_sigmoid`.
        reference: As in `log_sigmoid`.
        risk_aversion: In [0, 1]; above 1 the utility would not be finite for very bad responses.

    Source:
        Constant relative risk aversion, in the spirit of utility-inspired reward transformations, arXiv:2501.06248.
    """
    exponent = 1.0 - require_unit("risk_aversion", risk_aversion)
    log_p = log_sigmoid(reward, reference)
    return log_p if exponent == 0 else torch.expm1(exponent * log_p) / exponent


def z_score(reward: Tensor, mean: Tensor | Number, std: Tensor | Number) -> Tensor:
    """u = (r - mean) / std, with one mean and std per property over all pi_0 samples, frozen before training.

    Args:
        reward: Rewards of any shape.
        mean: One number.
        std: One number above 0.

    Raises:
        ValueError: Not finite, or std not above 0, or mean or std hold more than one number.

    Source:
        Customary standardisation, for the z-scored sum; we know no paper that it could be ascribed to.
    """
    require_samples("reward", reward)
    require_finite("reward", reward)
    mean, std = _one_number("mean", mean), require_positive("std", _one_number("std", std))
    return (in_float(reward) - mean) / std


def log_mean_sigmoid(reward: Tensor, draws: Tensor) -> Tensor:
    """Log-probability of beating a random pi_0 response, u = log mean_m sigma(r - r_m) <= 0.

    Args:
        reward: Rewards [prompts, samples] or [rows].
        draws: Rewards of pi_0 responses to the same prompt, [prompts, draws] or [rows, draws].

    Raises:
        ValueError: Shapes do not fit, there is no draw, or a value is not finite.

    Source:
        The logarithm of PAR with several references, arXiv:2502.18770.
    """
    reward, draws = _with_draws(reward, draws)
    margins = reward.unsqueeze(-1) - draws.reshape(_beside(reward, draws))
    # The mean of probabilities that are nearly 1 would round to 1 or above; that of the opposite ones keeps its digits.
    log_win, log_loss = (
        torch.logsumexp(F.logsigmoid(z), dim=-1) - math.log(draws.shape[-1]) for z in (margins, -margins)
    )
    return most_accurate(log_win, log_loss)


def mean_sigmoid(reward: Tensor, draws: Tensor) -> Tensor:
    """u = mean_m sigma(r - r_m): P(the response beats a random pi_0 response), in [0, 1].

    Source:
        PAR, Fu et al. 2025, arXiv:2502.18770. Arguments and errors as in `log_mean_sigmoid`.
    """
    reward, draws = _with_draws(reward, draws)
    return torch.sigmoid(reward.unsqueeze(-1) - draws.reshape(_beside(reward, draws))).mean(-1)


def prompt_z_score(reward: Tensor, draws: Tensor) -> Tensor:
    """u = (r - mean) / std of pi_0 responses to the same prompt: every prompt and property gets one spread.

    Mean and std stay those of pi_0 while the policy moves; a group's own, as in GRPO, would follow it.

    Args:
        reward: Rewards [prompts, samples] or [rows].
        draws: Rewards of at least two pi_0 responses to the same prompt, [prompts, draws] or [rows, draws].

    Raises:
        ValueError: Shapes do not fit, there are fewer than two draws, those of a prompt are all equal, or a value is
            not finite.

    Source:
        Customary standardisation, per prompt and frozen; we know no paper that it could be ascribed to.

    >>> prompt_z_score(torch.tensor([[3.0]]), torch.tensor([[0.0, 2.0]]))
    tensor([[1.4142]])
    """
    reward, draws = _with_draws(reward, draws)
    if draws.shape[-1] < 2:
        raise ValueError(
            "draws must be at least 2 per prompt, for their standard deviation, got 1; raise reference.num"
        )
    std, mean = torch.std_mean(draws, dim=-1, keepdim=True)
    flat = int((std == 0).sum())
    if flat:
        raise ValueError(
            f"draws of {flat} of {len(draws)} prompts are all equal, so there is no spread to divide by; use more "
            "draws, or the transform z_score, whose spread is that of all prompts"
        )
    return ((reward.reshape(len(draws), -1) - mean) / std).reshape(reward.shape)


def calibrated(reward: Tensor, draws: Tensor) -> Tensor:
    """Quantile of the reward among pi_0 draws, u = (#less + #equal / 2 + 1/2) / (n + 1), strictly within (0, 1).

    Blind to any increasing distortion of the reward. A step function: its gradient is 0.

    Args:
        reward: Rewards [prompts, samples] or [rows].
        draws: Rewards of pi_0 responses to the same prompt, [prompts, draws] or [rows, draws].

    Raises:
        ValueError: Shapes do not fit, there is no draw, or a value is not finite.

    Source:
        Calibrated reward of InfAlign, arXiv:2412.19792; mid-ranks are ours and keep the logarithm finite.
    """
    reward, draws = _with_draws(reward, draws)
    ordered = draws.detach().sort(dim=-1).values.contiguous()
    queries = reward.detach().reshape(draws.shape[0], -1).contiguous()
    less = torch.searchsorted(ordered, queries, right=False)
    not_above = torch.searchsorted(ordered, queries, right=True)
    ranks = 0.5 * (less + not_above).to(reward.dtype) + 0.5  # less + equal / 2 = (less + not_above) / 2
    return (ranks / (draws.shape[-1] + 1)).reshape(reward.shape)


def log_calibrated(reward: Tensor, draws: Tensor) -> Tensor:
    """u = log of `calibrated`: the utility whose KL-regularised optimum with gamma = 1/(k - 1) is best-of-k.

    Source:
        BoNBoN, arXiv:2406.00832; InfAlign, arXiv:2412.19792. Arguments and errors as in `calibrated`.
    """
    return calibrated(reward, draws).log()


def exp_calibrated(reward: Tensor, draws: Tensor, *, t: Number = 5.0) -> Tensor:
    """u = sign(t) * exp(t * quantile), increasing for either sign: t > 0 for best-of-n decoding, t < 0 for worst-of-n.

    Args:
        reward: As in `calibrated`.
        draws: As in `calibrated`.
        t: Any finite number but 0, at most 80 in size (exp overflows float32 at 88).

    Source:
        InfAlign-CTRL, arXiv:2412.19792.
    """
    if not 0 < abs(t) <= 80:
        raise ValueError(f"t must not be 0 and at most 80 in size, got {t}")
    return math.copysign(1.0, t) * (t * calibrated(reward, draws)).exp()


def margin(reward: Tensor, reference: Tensor | Number) -> Tensor:
    """z = r - r_ref in float32 (float64 stays), with the reference put alongside its prompt.

    Raises:
        ValueError: Shapes do not fit, or a value is not finite.
    """
    require_samples("reward", reward)
    require_finite("reward", reward)
    if not isinstance(reference, Tensor):
        if not math.isfinite(reference):
            raise ValueError(f"reference must be finite, got {reference}")
        return in_float(reward) - reference
    require_finite("reference", reference)
    fits = reference.shape in (torch.Size(()), reward.shape[:1], torch.Size((*reward.shape[:1], 1)))
    if not fits or (reference.ndim == 2 and reward.ndim != 2) or reward.ndim > 2:
        raise ValueError(
            f"reference of shape {tuple(reference.shape)} does not fit reward of shape {tuple(reward.shape)}; "
            "allowed are rewards [prompts, samples] with references [prompts] or [prompts, 1], or both [rows]"
        )
    per_prompt = reference.unsqueeze(-1) if reference.ndim == 1 and reward.ndim == 2 else reference
    return in_float(reward) - in_float(per_prompt)


def _with_draws(reward: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one float dtype, shapes checked."""
    require_samples("reward", reward)
    require_finite("reward", reward)
    require_finite("draws", draws)
    fits = draws.ndim == 2 and reward.ndim in (1, 2) and draws.shape[:1] == reward.shape[:1]
    if not fits or (draws.shape[-1] == 0):
        raise ValueError(
            f"draws of shape {tuple(draws.shape)} do not fit reward of shape {tuple(reward.shape)}; allowed are "
            "rewards [prompts, samples] or [rows] with at least one draw each, [prompts, draws] or [rows, draws]"
        )
    reward, draws = in_float(reward), in_float(draws)
    dtype = torch.promote_types(reward.dtype, draws.dtype)
    return reward.to(dtype), draws.to(dtype)


def _beside(reward: Tensor, draws: Tensor) -> tuple[int, ...]:
    """Shape of the draws that stands alongside every sample: [prompts, 1, draws], or [rows, draws]."""
    return (draws.shape[0], *(1 for _ in reward.shape[1:]), draws.shape[1])


def _one_number(name: str, value: Tensor | Number) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"{name} must be one number for the whole property, got shape {tuple(value.shape)}")
    number = float(value.item() if isinstance(value, Tensor) else value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number
