"""The open world, and the choice between the two worlds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipelines.config.base import StrictModel
from pipelines.config.data import WorldConfig

Judged = Literal["helpful", "harmless", "concise", "courteous"]


class OpenWorldConfig(StrictModel):
    """A world with known gold and no near ceiling of quality (docs/explanation/open_world.md)."""

    kind: Literal["open"] = "open"
    point: Literal["weak", "strong"] = Field(
        "strong",
        description="weak: narrow spreads and few pairs, as real reward models of small size; strong: wide spreads and "
        "raters that overrate rare phrases",
    )
    seed: int = Field(
        0, ge=0, description="draws facts, prompts, demonstrations and pairs; another seed is another world"
    )
    properties: tuple[Judged, ...] = Field(
        ("helpful", "harmless"), min_length=2, description="what gold and raters judge; two or more"
    )
    num_prompts: int = Field(2400, ge=100, le=5760, description="over all splits")
    demonstrations_per_prompt: int = Field(16, ge=1, description="SFT responses per prompt")
    pairs_per_prompt: int | None = Field(
        None, ge=1, description="pairs per property and prompt of the reward and alignment splits; absent: the point's"
    )
    held_out_pairs_per_prompt: int = Field(
        4, ge=1, description="pairs per property and prompt of the validation and test splits"
    )
    prompts_differ: bool = Field(True, description="false: the spread of gold is the same on every prompt")
    properties_differ: bool = Field(True, description="false: it is the same for all properties of a prompt")
    tension: bool = Field(True, description="false: helpful and harmless gold are independent within a prompt")
    overrating: bool = Field(True, description="false: raters are gold itself, and give nothing for rare phrases")

    @field_validator("properties")
    @classmethod
    def _each_once(cls, names: tuple[Judged, ...]) -> tuple[Judged, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"a property stands twice: {', '.join(names)}")
        return names

    @property
    def bars(self) -> dict[str, float]:
        """Gold utility from which a response counts as good, by property."""
        return dict.fromkeys(self.properties, 0.0)


World = Annotated[
    WorldConfig | OpenWorldConfig, Field(discriminator="kind", json_schema_extra={"kind_by_default": "embedded"})
]
