"""What a learner is told: which model it trains (`LearnerSpec`, once) and how (`ArmSpec`, once per arm).

Plain frozen values, so that they travel to an actor and into a checkpoint's JSON unchanged. Names and defaults follow
the run configuration (`align.optimizer`, `align.algorithm`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class LearnerSpec:
    """Where the learner's weights come from and how it computes.

    `micro_batch_tokens` bounds the padded tokens of one forward and backward pass; it changes memory and speed, not the
    update. `timeout_s` bounds every collective operation of a learner group.
    """

    model: str
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 1
    micro_batch_tokens: int = 16_384
    timeout_s: float = 300.0


@dataclass(frozen=True)
class OptimizerSpec:
    """AdamW with gradient clipping, linear warm-up, and a schedule after it."""

    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    warmup_steps: int = 0
    schedule: Literal["constant", "linear", "cosine"] = "constant"


@dataclass(frozen=True)
class Rloo:
    """REINFORCE with the leave-one-out baseline; the response is one action."""

    kind: Literal["rloo"] = "rloo"


@dataclass(frozen=True)
class Ppo:
    """PPO with value head and GAE: k1 per token, the utility at the last token."""

    kind: Literal["ppo"] = "ppo"
    epochs: int = 2
    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.5
    discount: float = 1.0
    gae_lambda: float = 1.0


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE with the mean return of the whole batch as baseline."""

    kind: Literal["reinforce"] = "reinforce"


@dataclass(frozen=True)
class Grpo:
    """The baseline is the mean return of the prompt, itself included; `scale` std divides by its standard deviation."""

    kind: Literal["grpo"] = "grpo"
    scale: Literal["none", "std"] = "none"


Algorithm = Rloo | Ppo | Reinforce | Grpo


@dataclass(frozen=True)
class Kl:
    """Which estimator of KL(pi || pi_0) is subtracted, and where. k1 in the reward is exact.

    `full` needs the distributions of pi_0, not its log-probs of sampled tokens: the learner keeps a copy of pi_0 then.
    """

    estimator: Literal["k1", "k2", "k2_sequence", "k3", "full"] = "k1"
    placement: Literal["reward", "loss"] = "reward"


@dataclass(frozen=True)
class ArmSpec:
    """One training from the initial weights: optimiser, algorithm, length in updates, seed.

    `max_importance_weight` truncates the weight pi / behaviour of responses that an older policy version generated; a
    batch of the learner's own version has weight 1 exactly.
    """

    optimizer: OptimizerSpec
    algorithm: Algorithm
    total_steps: int
    seed: int
    max_importance_weight: float = 2.0
    kl: Kl = Kl()


_ALGORITHMS: dict[str, type[Algorithm]] = {"rloo": Rloo, "ppo": Ppo, "reinforce": Reinforce, "grpo": Grpo}


def arm_to_json(arm: ArmSpec) -> dict[str, Any]:
    """The arm as plain JSON values."""
    return asdict(arm)


def arm_from_json(values: dict[str, Any]) -> ArmSpec:
    """The inverse of `arm_to_json`."""
    algorithm = _ALGORITHMS[values["algorithm"]["kind"]](**values["algorithm"])
    optimizer, kl = OptimizerSpec(**values["optimizer"]), Kl(**values.get("kl", {}))
    return ArmSpec(**{**values, "optimizer": optimizer, "algorithm": algorithm, "kl": kl})


def learning_rate_at(optimizer: OptimizerSpec, *, step: int, total_steps: int) -> float:
    """Learning rate of the update after `step` finished ones: linear warm-up, then the schedule, ending at 0."""
    if step < optimizer.warmup_steps:
        return optimizer.learning_rate * (step + 1) / optimizer.warmup_steps
    progress = min(1.0, (step - optimizer.warmup_steps) / max(1, total_steps - optimizer.warmup_steps))
    if optimizer.schedule == "constant":
        return optimizer.learning_rate
    if optimizer.schedule == "linear":
        return optimizer.learning_rate * (1.0 - progress)
    return optimizer.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
