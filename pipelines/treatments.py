"""From a property's configuration and the reference table to what is made of its rewards."""

from __future__ import annotations

from collections.abc import Sequence

from actors.treatment import Treatment
from pipelines.config.properties import ConstantReference, Property, Transform
from pipelines.config.run import RunConfig
from pipelines.reference_table import ReferenceTable, needs_table
from pipelines.table_keys import temperature


def treatment_of(
    config: RunConfig, name: str, table: ReferenceTable | None, prompt_ids: Sequence[str], *, key: str
) -> Treatment:
    """The treatment of a property's rewards on these prompts, the same in a run, its evaluation and its preview.

    Raises:
        ReferenceTableError: A prompt has no reference.
        ModelError: `calibrate` is set and no temperature was fitted.
    """
    setting = config.properties[name]
    return Treatment(
        key=key,
        transform=transform_name(setting.transform),
        references=_references(name, setting, table, prompt_ids),
        temperature=temperature(config, name),
    )


def transform_name(transform: Transform) -> str:
    """The name by which `allgood.named_transforms` knows it."""
    return transform.kind


def _references(
    name: str, setting: Property, table: ReferenceTable | None, prompt_ids: Sequence[str]
) -> float | dict[str, float]:
    reference = setting.reference
    if needs_table(reference):
        assert table is not None, "the caller loads the table"
        return table.reference_values(name, reference, prompt_ids)
    return reference.value if isinstance(reference, ConstantReference) else 0.0
