"""Where text comes from: preference pairs per property, demonstrations, prompts; how it is split and cut."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from allgood.scorers.hub_names import at_revision
from pipelines.config.base import REVISION, StrictModel

BARS = {"helpful": 0.0, "harmless": 0.0}
FILE_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
"""Of files with data; what ends otherwise may be a name on the hub."""


class DataSource(StrictModel):
    """A dataset: a local .jsonl, .jsonl.gz or .parquet file, or a dataset on the Hugging Face hub."""

    path: str = Field(description="file, or name on the hub")
    hub_split: str = Field("train", description="split to read when `path` names a hub dataset")
    hub_subset: str | None = Field(None, description="configuration (or data_dir) when `path` names a hub dataset")
    revision: str | None = Field(None, description=f"of a hub dataset; {REVISION}")
    limit: int | None = Field(None, ge=1, description="read at most this many rows")
    columns: dict[str, str | None] = Field(
        {},
        description="our names of a row's fields to the columns of this dataset, such as {prompt: instruction}; null: "
        "not read",
    )

    @property
    def fields_of_a_row(self) -> tuple[str, ...]:
        """Our names of what is read of a row; empty: everything, under the dataset's own names."""
        return ()

    @property
    def wanted(self) -> dict[str, str]:
        """Our names of what is read of a row, and the dataset's names. `system` is read only where `columns` has it."""
        own: dict[str, str | None] = {name: name for name in self.fields_of_a_row if name != "system"}
        return {ours: theirs for ours, theirs in (own | self.columns).items() if theirs is not None}

    @model_validator(mode="after")
    def _columns_are_fields(self) -> Self:
        unknown = [name for name in self.columns if name not in self.fields_of_a_row]
        if unknown:
            raise ValueError(
                f"`columns` names {unknown[0]!r}, which is no field of these rows; left of the colon stands one of "
                f"{', '.join(self.fields_of_a_row)}, right of it the dataset's column"
            )
        return self


class PromptSource(DataSource):
    """Prompts: rows with `prompt`, as text or as a list of messages; `split` is optional."""

    format: Literal["auto", "hh", "strings", "messages"] = Field(
        "auto",
        description="of `prompt`. hh: Human:/Assistant: text; strings: what the user says; messages: a list; "
        "auto: told apart row by row",
    )

    @property
    def fields_of_a_row(self) -> tuple[str, ...]:
        """Our names of what is read of a row."""
        return ("prompt", "system", "split")


class DemonstrationSource(PromptSource):
    """Rows with `prompt` and `response`, for SFT; `split` is optional."""

    @property
    def fields_of_a_row(self) -> tuple[str, ...]:
        """Our names of what is read of a row."""
        return ("prompt", "response", "system", "split")


class PairSource(DataSource):
    """Preference pairs of a property: rows with `chosen` and `rejected`, or answers with ratings to make pairs of."""

    format: Literal["auto", "hh", "strings", "messages", "rated"] = Field(
        "auto",
        description="hh: chosen/rejected as Human:/Assistant: text; strings: prompt/chosen/rejected; messages: lists; "
        "rated: answers with a rating, one per row (`response`) or several (`responses`)",
    )
    attribute: str | None = Field(
        None,
        min_length=1,
        description="with format rated: the rating that the property is judged by, such as helpfulness; a dotted path "
        "where it lies deeper",
    )

    @property
    def fields_of_a_row(self) -> tuple[str, ...]:
        """Our names of what is read of a row."""
        if self.format == "rated":
            return ("prompt", "response", "responses", "system", "split")
        return ("prompt", "chosen", "rejected", "margin", "system", "split")

    @property
    def wanted(self) -> dict[str, str]:
        """As of every source; and the column that holds ratings, unless they stand in the answers."""
        root = self.attribute.split(".")[0] if self.attribute else None
        return super().wanted | ({root: root} if root else {})

    @model_validator(mode="after")
    def _rated_by_an_attribute(self) -> Self:
        if self.format == "rated" and self.attribute is None:
            raise ValueError("format rated needs `attribute`: the rating that this property is judged by")
        if self.format != "rated" and self.attribute is not None:
            raise ValueError("`attribute` is read with `format: rated` only")
        return self


class SplitConfig(StrictModel):
    """Shares of the prompts; what is left is halved between reward-model training and alignment (definitions.md)."""

    test: float = Field(0.15, gt=0, lt=1, description="share for reports only")
    test_min_prompts: int = Field(300, ge=1, description="at least this many test prompts where the data allow")
    validation: float = Field(0.10, gt=0, lt=1, description="share for early stopping and for choosing between arms")
    sft: float = Field(0.15, gt=0, lt=1, description="share whose responses SFT learns from")

    @model_validator(mode="after")
    def _leaves_something(self) -> SplitConfig:
        if self.test + self.validation + self.sft >= 0.95:
            raise ValueError("test + validation + sft must stay below 0.95, so that prompts for training are left")
        return self


class DataConfig(StrictModel):
    """All text of a run."""

    pairs: dict[str, PairSource] = Field(default_factory=dict, description="preference pairs, one entry per property")
    demonstrations: DemonstrationSource | None = Field(
        None, description="prompt/response rows for SFT; absent: chosen responses"
    )
    demonstrations_from: list[str] = Field(
        default_factory=list,
        description="without `demonstrations`: SFT on the chosen responses of these `pairs` entries",
    )
    prompts: PromptSource | None = Field(
        None, description="prompts to align on, instead of those of the pairs (alongside those of `prompts_from`)"
    )
    prompts_from: list[str] = Field(
        default_factory=list,
        description="`pairs` entries whose prompts are aligned; empty means all, or with `prompts` none",
    )
    splits: SplitConfig = SplitConfig()


class WorldConfig(StrictModel):
    """The embedded world with known gold (docs/explanation/world.md)."""

    kind: Literal["embedded"] = "embedded"
    seed: int = Field(
        0, ge=0, description="draws facts, prompts, demonstrations and pairs; another seed is another world"
    )
    num_prompts: int = Field(2400, ge=100, le=5184, description="over all splits")
    pairs_per_prompt: int = Field(
        10, ge=1, description="pairs per property and prompt of the reward and alignment splits"
    )
    held_out_pairs_per_prompt: int = Field(
        4, ge=1, description="pairs per property and prompt of the validation and test splits"
    )
    demonstrations_per_prompt: int = Field(16, ge=1, description="SFT responses per prompt")
    shortcut_strength: float = Field(
        1.0, ge=0, description="what a list or a consult phrase adds to a preference, in nats; 0 = none"
    )

    @property
    def bars(self) -> dict[str, float]:
        """Gold utility from which a response counts as good, by property."""
        return BARS


class TokenizerConfig(StrictModel):
    """The policy's tokenizer: loaded with the policy, or trained on the run's own text."""

    train: bool = Field(False, description="train a tokenizer instead of loading one")
    vocab_size: int = Field(1024, ge=300, description="of a trained tokenizer")


class PolicyConfig(StrictModel):
    """The model that SFT, or without it alignment, starts from. Exactly one of `model` and `architecture`."""

    model: str | None = Field(None, description="Hugging Face name or folder of a causal LM")
    revision: str | None = Field(None, description=f"of a `model` on the hub; {REVISION}")
    architecture: dict[str, object] | None = Field(
        None, description="a transformers config with `model_type`, for a model trained from scratch"
    )

    @model_validator(mode="after")
    def _one_source(self) -> PolicyConfig:
        if (self.model is None) == (self.architecture is None):
            raise ValueError("give exactly one of `model` (name or folder) and `architecture` (a transformers config)")
        if self.revision is not None and self.model is None:
            raise ValueError(f"revision {self.revision!r} belongs to a `model` on the hub; an `architecture` has none")
        return self

    @property
    def source(self) -> str | None:
        """The model: folder, or name on the hub with its revision."""
        return None if self.model is None else at_revision(self.model, self.revision)
