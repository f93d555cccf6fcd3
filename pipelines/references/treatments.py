"""From a property's configuration and the reference table to what is made of its rewards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allgood.errors import ReferenceTableError
from allgood.treatment import Treatment
from pipelines.config.properties import ConstantReference, DrawsReference, Property
from pipelines.config.run import RunConfig
from pipelines.references.keys import table_keys, temperature
from pipelines.references.table import ReferenceTable, needs_table
from pipelines.run.folder import RunFolder


def treatment_of(
    config: RunConfig, name: str, table: ReferenceTable | None, prompt_ids: Sequence[str], *, key: str
) -> Treatment:
    """The treatment of a property's rewards on these prompts, the same in a run and in its preview.

    Raises:
        ReferenceTableError: A prompt has no reference, or there is no table although one is needed.
        ModelError: `calibrate` is set and no temperature was fitted.
    """
    setting = config.properties[name]
    if table is None and tabled(setting):
        raise ReferenceTableError(f"property {name} needs a reference table; make it with `allgood reference CONFIG`")
    draws = None
    if table is not None and isinstance(setting.reference, DrawsReference):
        draws = table.draws(name, setting.reference.num, prompt_ids)
    return Treatment(
        key=key,
        transform=setting.transform.facts.name,
        options=setting.transform.options,
        references=_references(name, setting, table, prompt_ids)
        if draws is None
        else {prompt_id: float(np.mean(rewards, dtype=np.float64)) for prompt_id, rewards in draws.items()},
        temperature=temperature(config, name),
        draws=draws,
        moments=table.moments(name) if table is not None and needs_moments(setting) else None,
    )


def tabled(setting: Property) -> bool:
    """Whether a run needs the reference table for this property."""
    return needs_table(setting.reference) or needs_moments(setting)


def needs_moments(setting: Property) -> bool:
    """Whether its transform takes mean and standard deviation over all SFT samples."""
    return setting.transform.facts.needs == "mean_and_std"


def run_table(config: RunConfig) -> ReferenceTable | None:
    """The reference table, checked against this run's models and settings; None when no property needs one.

    Raises:
        ReferenceTableError: There is none, it is damaged, or it belongs to another run.
    """
    names = [name for name, setting in config.properties.items() if tabled(setting)]
    if not names:
        return None
    table = ReferenceTable.load(RunFolder(config.base_folder).references)
    table.check(table_keys(config, names))
    return table


def _references(
    name: str, setting: Property, table: ReferenceTable | None, prompt_ids: Sequence[str]
) -> float | dict[str, float]:
    reference = setting.reference
    if table is not None and needs_table(reference):
        return table.reference_values(name, reference, prompt_ids)
    return reference.value if isinstance(reference, ConstantReference) else 0.0
