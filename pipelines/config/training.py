"""How a model is trained: optimiser, schedule, length of the training, adapters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from actors.cluster.placement import Accelerator, Gpus
from actors.learning.specs import OptimizerSpec
from allgood.scorers.hub_names import at_revision
from pipelines.config.base import REVISION, StrictModel


class LoraConfig(StrictModel):
    """Low-rank adapters through peft instead of full fine-tuning."""

    rank: int = Field(8, ge=1, description="of the adapters")
    alpha: float = Field(16.0, gt=0, description="adapters are scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="on the adapters' input")
    target_modules: list[str] | Literal["all-linear"] = Field("all-linear", description="names of the adapted modules")


class TrainingConfig(StrictModel):
    """One supervised training (SFT or reward model) under Ray Train."""

    epochs: float = Field(1.0, gt=0, description="passes over the data; `max_steps` may end it earlier")
    max_steps: int | None = Field(None, ge=1, description="optimiser steps at most")
    batch_size: int = Field(32, ge=1, description="rows per optimiser step, over all workers")
    micro_batch_size: int | None = Field(
        None, ge=1, description="rows per forward pass and worker; absent means no accumulation"
    )
    evaluate_every: int = Field(100, ge=1, description="optimiser steps between evaluations on validation rows")
    max_validation_rows: int | None = Field(
        None, ge=1, description="evaluate on at most this many validation rows while training"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="end after this many evaluations in a row without a better one; absent: train to the end",
    )
    optimizer: OptimizerSpec = OptimizerSpec()
    lora: LoraConfig | None = None
    workers: int = Field(0, ge=0, description="Ray Train workers; 0 trains in this process (Ray Train's local mode)")
    gpus_per_worker: Gpus = Field(0.0, description="reserved in Ray")
    cpus_per_worker: float = Field(1.0, gt=0, description="reserved in Ray")
    accelerator: Accelerator | None = Field(
        None, description="accelerator type of the workers' nodes, as in `placement`; absent means any node"
    )


class SftConfig(StrictModel):
    """Supervised fine-tuning on demonstrations."""

    loss_on: Literal["last_turn", "all_turns"] = "all_turns"
    max_tokens: int = Field(
        512, ge=8, description="conversation limit in tokens; prompts are cut from the left at a turn boundary"
    )
    training: TrainingConfig = TrainingConfig()


class RewardTrainingConfig(StrictModel):
    """Bradley-Terry training of one property's reward model."""

    backbone: str = Field(
        "sft",
        description="'sft' is the start policy: the SFT policy, or with `sft: null` `policy.model`; else a hub "
        "name or folder",
    )
    revision: str | None = Field(None, description=f"of a backbone on the hub; {REVISION}")
    max_tokens: int = Field(512, ge=8, description="conversation limit in tokens")
    freeze_layers: int = Field(
        0, ge=0, description="freeze the embeddings and this many lower layers; 0 trains everything"
    )
    margin: bool = Field(False, description="subtract the pair's `margin` inside the log-sigmoid")
    center_coefficient: float = Field(
        0.0, ge=0, description="weight of mean((r+ + r-)^2), which pins the level of the rewards"
    )
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _a_revision_belongs_to_a_name(self) -> RewardTrainingConfig:
        if self.revision is not None and self.backbone == "sft" and self.named_model is None:
            raise ValueError(
                f"revision {self.revision!r} belongs to no name on the hub: the backbone is the start policy; leave it "
                "out, or give `backbone`"
            )
        return self

    @property
    def named_model(self) -> str | None:
        """A finished model in the place of a training."""
        return None

    @property
    def backbone_source(self) -> str:
        """Where the training starts: folder, or name on the hub with its revision."""
        return at_revision(self.backbone, self.revision)


class EvaluatorConfig(RewardTrainingConfig):
    """A property's held-out preference model: a finished one, or one that is trained on pairs of the alignment half."""

    model: str | None = Field(
        None, description="name or folder of a finished one-label classifier, which judges as it is; absent: trained"
    )

    @model_validator(mode="after")
    def _a_finished_model_is_not_trained(self) -> EvaluatorConfig:
        chosen = self.model_dump(exclude_defaults=True, exclude={"model", "revision", "max_tokens"})
        if self.model is not None and chosen:
            raise ValueError(
                f"evaluator.model names a finished model, which is not trained, so `{next(iter(chosen))}` says "
                "nothing; leave out one of the two"
            )
        return self

    @property
    def named_model(self) -> str | None:
        """A finished model in the place of a training: folder, or name on the hub with its revision."""
        return None if self.model is None else at_revision(self.model, self.revision)
