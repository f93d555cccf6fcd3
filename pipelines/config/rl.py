"""The alignment itself: objective, KL, algorithm, sampling, chunks, steps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from actors.learning.specs import Grpo, Kl, Lora, OptimizerSpec, Ppo, Reinforce, Rloo
from allgood import kl_controllers
from pipelines.config.base import StrictModel
from pipelines.config.objectives import FormulaObjective as FormulaObjective
from pipelines.config.objectives import Objective as Objective
from pipelines.config.objectives import WeightedSumObjective as WeightedSumObjective
from pipelines.config.references import Reference


class FixedController(StrictModel):
    """The coefficient never changes."""

    kind: Literal["fixed"] = "fixed"


class AdaptiveController(StrictModel):
    """Ziegler et al. 2019: multiply the coefficient so that the sequence KL approaches `target` nats."""

    kind: Literal["adaptive"] = "adaptive"
    target: float = Field(gt=0, description="sequence KL in nats")
    horizon: int = Field(
        kl_controllers.AdaptiveController.horizon,
        ge=1,
        description="responses over which the coefficient may change by 20 %",
    )


class TargetController(StrictModel):
    """Seek the coefficient at which the sequence KL is `target` nats, by steps of its logarithm."""

    kind: Literal["target"] = "target"
    target: float = Field(gt=0, description="sequence KL in nats")
    rate: float = Field(
        kl_controllers.TargetKlController.rate, gt=0, le=1, description="largest change of log gamma per step"
    )
    smoothing: float = Field(
        kl_controllers.TargetKlController.smoothing,
        ge=0,
        lt=1,
        description="weight of the past in the running mean of the KL",
    )


class KlConfig(StrictModel):
    """KL(pi || pi_0): gamma is `coefficient`. k1 inside the reward and k2_sequence as loss have the exact gradient; the
    other choices say that they do not.
    """

    coefficient: float = Field(0.1, gt=0, description="gamma; in nats of utility per nat of KL")
    estimator: Literal["k1", "k2", "k2_sequence", "k3", "full"] = Field(
        Kl.estimator,
        description="k1, k2, k3: per sampled token; k2_sequence: k2 of the whole response; full: the sum over the "
        "vocabulary at each token, for which every learner keeps a copy of pi_0",
    )
    placement: Literal["reward", "loss"] = Field(
        Kl.placement, description="where it is subtracted; k1 only in the reward, k2_sequence only as a loss"
    )
    controller: Annotated[FixedController | AdaptiveController | TargetController, Field(discriminator="kind")] = (
        FixedController()
    )

    @model_validator(mode="after")
    def _regularises(self) -> KlConfig:
        if (self.estimator, self.placement) == ("k1", "loss"):
            raise ValueError(
                "k1 as a loss has no expected gradient: nothing would hold the policy near pi_0; set "
                "placement: reward, or estimator k2_sequence"
            )
        if (self.estimator, self.placement) == ("k2_sequence", "reward"):
            raise ValueError("k2_sequence in the reward follows another penalty than the KL; set placement: loss")
        return self


Algorithm = Annotated[Rloo | Ppo | Reinforce | Grpo, Field(discriminator="kind")]


class TorchEngineConfig(StrictModel):
    """Our own decoding loop around Hugging Face models; its log-probabilities are exactly the policy's."""

    kind: Literal["torch"] = "torch"


class SamplingConfig(StrictModel):
    """How rollouts are drawn. Training, references and preview sample the policy itself: temperature 1, nothing cut."""

    max_new_tokens: int = Field(128, ge=1)
    max_prompt_tokens: int = Field(384, ge=1, description="prompts are cut from the left at a turn boundary")
    stop: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None,
        description="texts that end a response besides the tokens that do; trimmed before scoring; null: what the "
        "policy's format asks for, `\\n\\nHuman:` in plain text and none where a chat template ends turns with a token",
    )
    prompts_per_chunk: int = Field(
        16,
        ge=1,
        description="prompts that travel and are generated together, in alignment and evaluation; part of the result",
    )
    temperature: float = Field(1.0, description="must be 1")
    top_p: float = Field(1.0, description="must be 1")
    top_k: int = Field(0, description="must be 0")
    engine: TorchEngineConfig = Field(
        TorchEngineConfig(),
        description="what generates in the rollout actors: `kind: torch` is our own loop around Hugging Face models",
    )

    @model_validator(mode="after")
    def _samples_the_policy(self) -> SamplingConfig:
        for key, value, needed in (
            ("temperature", self.temperature, 1.0),
            ("top_p", self.top_p, 1.0),
            ("top_k", self.top_k, 0),
        ):
            if value != needed:
                raise ValueError(
                    f"{key} is {value}, but must be {needed}: KL and tilting are exact only for samples "
                    "of the policy itself"
                )
        return self


class AlignConfig(StrictModel):
    """One alignment run."""

    steps: int = Field(100, ge=1, description="optimiser updates of RLOO; PPO makes `epochs` passes in each")
    prompts_per_step: int = Field(16, ge=1, description="prompts per step")
    samples_per_prompt: int = Field(4, ge=2, description="responses per prompt")
    micro_batch_tokens: int = Field(
        16_384, ge=64, description="padded tokens per forward and backward pass of the learner"
    )
    lora: Lora | None = Field(
        None, description="train low-rank adapters instead of all weights; they are merged into the finished model"
    )
    gradient_checkpointing: bool = Field(
        False,
        description="the learner keeps the input of each block only, and computes the rest again in the backward pass: "
        "less memory, one more forward pass, the same result",
    )
    staleness: int = Field(
        0,
        ge=0,
        description="how many updates behind the learner the policy is that generates a step: with n, step s is "
        "generated by version max(0, s - n) while the learner takes the steps before it, and importance weights "
        "correct for it; 0: generation waits for every update",
    )
    optimizer: OptimizerSpec = OptimizerSpec(learning_rate=1e-4, weight_decay=0.0, schedule="constant")
    algorithm: Algorithm = Rloo()
    max_nan_share: float = Field(
        0.10, ge=0, le=1, description="a step with a larger share of failed scores ends the run"
    )
    evaluate_every: int = Field(50, ge=1, description="steps between evaluations on validation prompts")
    evaluation_samples: int = Field(2, ge=1, description="responses per validation prompt")
    max_evaluation_prompts: int = Field(128, ge=1, description="validation prompts per evaluation while training")
    checkpoint_every: int = Field(50, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="how many of the latest are kept, alongside the best")
    stop_at_kl: float | None = Field(None, gt=0, description="end the run when the evaluated KL passes this many nats")


Split = Literal["sft", "reward", "alignment", "validation", "test"]


class ReferencesConfig(StrictModel):
    """Samples of the start policy per prompt, from which reference points and cached rollouts are made."""

    num_samples: int = Field(64, ge=2, description="responses per prompt")
    splits: list[Split] = Field(["alignment", "validation"], description="which prompts are sampled")
    prompts_per_chunk: int = Field(
        16, ge=1, description="prompts that travel and are generated together; part of the result"
    )
    max_prompts: dict[Split, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="at most this many prompts of a split"
    )
    also: dict[str, list[Reference]] = Field(
        default_factory=dict,
        description="further references that the table shall serve, per property, for sweeps and previews",
    )


class EvaluateConfig(StrictModel):
    """Evaluation on test prompts."""

    prompts: int = Field(300, ge=1, description="test prompts")
    samples_per_prompt: int = Field(4, ge=1, description="responses per prompt")
    sft_samples_per_prompt: int = Field(
        16, ge=2, description="responses of pi_0 per prompt: opponents, evaluator bars, references of test prompts"
    )
    bootstrap: int = Field(2000, ge=100, description="bootstrap resamples over prompts")
    quantiles: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=lambda: {"helpful": 0.85, "harmless": 0.95},
        description="evaluator bars: quantile of its pi_0 scores; others 0.85",
    )
    gold: str | None = Field(
        None, description="'module:function(prompts, responses) -> {property: scores}'; the world brings its own"
    )
    bars: dict[str, float] = Field(
        default_factory=dict, description="gold score from which a response is good, per property"
    )
    judge_url: str | None = Field(None, description="base URL of an OpenAI-compatible judge")
    judge_model: str | None = Field(None, description="name that the judge's server knows")

    @model_validator(mode="after")
    def _gold_has_bars(self) -> EvaluateConfig:
        if self.gold is not None and not self.bars:
            raise ValueError("gold needs `bars`: the score from which a response is good, per property")
        if self.bars and self.gold is None:
            raise ValueError("bars are those of `gold`, which is absent; the world brings its own bars")
        return self

    @model_validator(mode="after")
    def _whole_judge(self) -> EvaluateConfig:
        if (self.judge_url is None) != (self.judge_model is None):
            missing = "judge_url" if self.judge_url is None else "judge_model"
            raise ValueError(f"a judge needs both judge_url and judge_model, but {missing} is absent")
        return self


class TrackingConfig(StrictModel):
    """Where metrics go besides the run folder."""

    wandb: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto", description="auto: online when logged in, else offline; online without a login is offline too"
    )
    wandb_project: str = Field("allgood", description="project name at W&B")
    group: str | None = Field(None, description="W&B group of all stages of the run; absent: the run's name")
    tensorboard: bool = Field(False, description="also write event files to <run>/tensorboard/<stage>")
