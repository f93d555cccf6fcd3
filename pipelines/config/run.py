"""The configuration of a run: one YAML file, read by every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.config.base import StrictModel
from pipelines.config.comparison import ComparisonConfig
from pipelines.config.data import DataConfig, PolicyConfig, TokenizerConfig
from pipelines.config.open_world import World
from pipelines.config.placement import PlacementConfig
from pipelines.config.preview import PreviewConfig
from pipelines.config.properties import ModelProperty, Property
from pipelines.config.rl import (
    AlignConfig,
    EvaluateConfig,
    FormulaObjective,
    KlConfig,
    Objective,
    ReferencesConfig,
    SamplingConfig,
    TrackingConfig,
)
from pipelines.config.storage_url import checked_storage
from pipelines.config.training import SftConfig


class RunConfig(StrictModel):
    """Everything that decides the result of a run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="the run folder is <output_dir>/<name>")
    seed: int = Field(0, ge=0, description="everything random of the run derives from it; the world has its own seed")
    output_dir: Path = Field(Path("runs"), description="folder of the run folders")
    storage: str | None = Field(
        None,
        description="where a copy of the run is kept, such as s3://bucket/prefix, on any filesystem of fsspec; "
        "credentials come from the environment",
    )
    base: Path | None = Field(
        None, description="run folder whose data, start policy, reward models and references are used"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where the process has one")
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on GPU, float32 on CPU")
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="torch threads of each process; auto: the actors on a node share its cores, a training has one",
    )
    world: World | None = None
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    policy: PolicyConfig
    sft: SftConfig | None = Field(
        SftConfig(), description="Supervised fine-tuning on demonstrations; null: none, pi_0 is `policy.model` as it is"
    )
    properties: dict[str, Property] = Field(min_length=1)
    objective: Objective = FormulaObjective()
    missing_eos_penalty: float = Field(
        0.0, ge=0, description="nats subtracted from the utility of a response that is cut at the limit"
    )
    sampling: SamplingConfig = SamplingConfig()
    references: ReferencesConfig = ReferencesConfig()
    kl: KlConfig = KlConfig()
    preview: PreviewConfig = PreviewConfig()
    align: AlignConfig = AlignConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    comparison: ComparisonConfig | None = Field(None, description="arms of `allgood quickstart`")
    placement: PlacementConfig = PlacementConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def folder(self) -> Path:
        """The run folder, `<output_dir>/<name>`."""
        return self.output_dir / self.name

    @property
    def own_threads(self) -> int:
        """Torch threads of the command's own process and of trainings, whose models come out equal on any machine."""
        return 1 if self.threads == "auto" else self.threads

    @property
    def base_folder(self) -> Path:
        """The run folder that holds data, start policy, reward models and references."""
        return self.base or self.folder

    @field_validator("storage")
    @classmethod
    def _storage_is_a_url_without_secrets(cls, storage: str | None) -> str | None:
        return None if storage is None else checked_storage(storage)

    @field_validator("world", mode="before")
    @classmethod
    def _world_is_embedded_by_default(cls, world: object) -> object:
        """A `world` without `kind` is the embedded one."""
        return {"kind": "embedded", **world} if isinstance(world, dict) else world

    @model_validator(mode="after")
    def _start_policy_is_a_model(self) -> RunConfig:
        if self.sft is not None:
            return self
        for key, is_given, why in (
            ("policy.architecture", self.policy.architecture is not None, "an untrained model has nothing to align"),
            ("tokenizer.train", self.tokenizer.train, "`policy.model` reads with its own tokenizer"),
            ("data.demonstrations", self.data.demonstrations is not None, "nothing would learn from them"),
            ("data.demonstrations_from", bool(self.data.demonstrations_from), "nothing would learn from them"),
        ):
            if is_given:
                raise ValueError(
                    f"`sft: null` starts from `policy.model` as it is, and {why}; leave out `{key}`, or give `sft`"
                )
        return self

    @model_validator(mode="after")
    def _further_references_can_be_made(self) -> RunConfig:
        for name, references in self.references.also.items():
            self._refuse_unknown(name, key="references.also")
            kind = self.properties[name].kind
            if kind != "model" and any(None in reference.encoders for reference in references):
                raise ValueError(
                    f"references.also asks for predicted references of {name}, but a property of kind {kind} has no "
                    "features to predict from; name an `encoder` in them"
                )
        return self

    @model_validator(mode="after")
    def _bars_belong_to_properties(self) -> RunConfig:
        for name in self.evaluate.bars:
            self._refuse_unknown(name, key="evaluate.bars")
        return self

    @model_validator(mode="after")
    def _placements_name_roles(self) -> RunConfig:
        placements = {f"reward.{name}": setting.placement for name, setting in self.properties.items()}
        placements |= {role: getattr(self.placement, role) for role in ("rollout", "reference_policy", "learner")}
        for role, needs in placements.items():
            for key, names in (("shares_gpu_with", [needs.shares_gpu_with]), ("apart_from", needs.apart_from)):
                for name in names:
                    if name is not None and name not in placements:
                        raise ValueError(
                            f"the placement of {role} names {name!r} under `{key}`, which is no role of this run; "
                            f"roles are: {', '.join(placements)}"
                        )
        return self

    def _refuse_unknown(self, name: str, *, key: str) -> None:
        if name not in self.properties:
            raise ValueError(
                f"{key} names {name!r}, which is not a property; properties are: {', '.join(self.properties)}"
            )

    @model_validator(mode="after")
    def _text_comes_from_somewhere(self) -> RunConfig:
        if self.world is None and not self.data.pairs and self.data.prompts is None:
            raise ValueError(
                "no text: give `world` (the embedded world), `data.prompts` (prompts to align on) or `data.pairs` "
                "(preference pairs per property)"
            )
        sources = ("pairs", "demonstrations", "demonstrations_from", "prompts", "prompts_from")
        given = [f"data.{key}" for key in sources if getattr(self.data, key)]
        if self.world is not None and given:
            raise ValueError(
                f"the {self.world.kind} world brings its own text, and {given[0]} would not be read; "
                "leave out one of the two"
            )
        return self

    @model_validator(mode="after")
    def _trained_models_have_pairs(self) -> RunConfig:
        known = list(self.world.bars if self.world is not None else self.data.pairs)
        where = f"the {self.world.kind} world" if self.world is not None else "`data.pairs`"
        if self.base is not None:  # its pairs lie there, whatever this run's own settings say
            return self
        has = f"has pairs for {', '.join(known)} only" if known else "is empty"
        for name, setting in self.properties.items():
            is_trained = isinstance(setting, ModelProperty) and (setting.model is None or setting.trains_evaluator)
            if is_trained and name not in known:
                raise ValueError(
                    f"properties.{name} trains a reward model or evaluator, but {where} {has}; "
                    f"give `data.pairs.{name}`, or name a finished `model`, with no `evaluator` or a finished one"
                )
        return self
