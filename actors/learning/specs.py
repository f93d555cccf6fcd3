"""What a learner is told: which model it trains (`LearnerSpec`, once) and how (`ArmSpec`, once per arm).

Frozen values, so that they travel to an actor and into a checkpoint's JSON unchanged. The sections `align.optimizer`,
`training.optimizer` and `align.algorithm` of a run file are these classes: pydantic checks what a user writes against
the types and bounds given here, and the defaults stand nowhere else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from actors.weights.transports import ObjectStore, WeightTransport

_SECTION = ConfigDict(extra="forbid", allow_inf_nan=False)  # where pydantic builds it from a run file


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters, W x + (alpha / rank) B A x, W frozen and B = 0 at first (Hu et al. 2021, arXiv:2106.09685)."""

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    rank: Annotated[int, Field(ge=1, description="of the adapters")] = 8
    alpha: Annotated[float, Field(gt=0, description="adapters are scaled by alpha / rank")] = 16.0
    target_modules: Annotated[
        tuple[str, ...] | Literal["all-linear"],
        Field(description="names of the adapted linear layers; all-linear: all but the output layer"),
    ] = "all-linear"


@dataclass(frozen=True)
class LearnerSpec:
    """Where the learner's weights come from and how it computes.

    `micro_batch_tokens` bounds the padded tokens of one forward and backward pass; it changes memory and speed, not the
    update. `timeout_s` bounds every collective operation of a learner group; `transport` is how weights reach the
    rollout actors. With `lora` only adapters are trained. With `is_sharded` several learners hold the policy once
    between them, instead of once each. With `gradient_checkpointing` blocks are computed again in the backward pass.
    """

    model: str
    device: str
    dtype: str
    threads: int
    micro_batch_tokens: int
    timeout_s: float = 300.0
    transport: WeightTransport = field(default_factory=ObjectStore)
    lora: Lora | None = None
    is_sharded: bool = False
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class OptimizerSpec:
    """AdamW with gradient clipping, linear warm-up, and a schedule after it."""

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    learning_rate: Annotated[float, Field(gt=0, description="peak, after the warm-up")] = 3e-4
    weight_decay: Annotated[float, Field(ge=0, description="of AdamW, on matrices; biases and norms do not decay")] = (
        0.01
    )
    beta1: Annotated[float, Field(ge=0, lt=1, description="of AdamW")] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1, description="of AdamW")] = 0.999
    epsilon: Annotated[float, Field(gt=0, description="of AdamW")] = 1e-8
    max_grad_norm: Annotated[float, Field(gt=0, description="gradients are scaled down to this norm")] = 1.0
    warmup_steps: Annotated[
        int, Field(ge=0, description="steps of linear warm-up: step n of them has n / (warmup_steps + 1) of the rate")
    ] = 0
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        Field(description="after the warm-up; linear and cosine would reach 0 one step after the last"),
    ] = "linear"


@dataclass(frozen=True)
class Rloo:
    """REINFORCE with the leave-one-out baseline; the response is one action."""

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    kind: Literal["rloo"] = "rloo"


@dataclass(frozen=True)
class Ppo:
    """PPO with value head and GAE: k1 per token, the utility at the last token."""

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    kind: Literal["ppo"] = "ppo"
    epochs: Annotated[int, Field(ge=1, description="passes over the responses of a step")] = 2
    clip: Annotated[float, Field(gt=0, lt=1, description="of the probability ratio, on both sides")] = 0.2
    value_clip: Annotated[float, Field(gt=0, description="of the change of a value, on both sides")] = 0.2
    value_coefficient: Annotated[float, Field(gt=0, description="weight of the value loss")] = 0.5
    discount: Annotated[float, Field(gt=0, le=1, description="per token")] = 1.0
    gae_lambda: Annotated[float, Field(ge=0, le=1, description="1: no bias, more variance")] = 1.0


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE with the mean return of the whole batch as baseline: more variance where prompts differ."""

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    kind: Literal["reinforce"] = "reinforce"


@dataclass(frozen=True)
class Grpo:
    """GRPO without the standard deviation (Dr. GRPO): the baseline is the mean return of the prompt."""

    __pydantic_config__: ClassVar[ConfigDict] = _SECTION

    kind: Literal["grpo"] = "grpo"
    scale: Annotated[
        Literal["none", "std"],
        Field(description="std: divide by the prompt's standard deviation; refused for utilities that are logarithms"),
    ] = "none"


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
