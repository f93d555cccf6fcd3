"""From a property's configuration and the reference table to what is made of its rewards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allgood.all_good import AllGood
from allgood.errors import ReferenceTableError
from allgood.treatment import Treatment
from pipelines.config.objective_values import objective_of
from pipelines.config.properties import Property, good_from
from pipelines.config.references import FloatGrid, FloatRow
from pipelines.config.run import RunConfig
from pipelines.references.keys import table_keys, temperature
from pipelines.references.table import ReferenceTable
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
    if table is not None and setting.reference.num_draws is not None:
        draws = table.draws(name, setting.reference.num_draws, prompt_ids)
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
        good_from=good_from(setting),
    )


def fresh_treatment(
    setting: Property,
    prompt_ids: Sequence[str],
    samples: FloatGrid,
    of_texts: FloatRow | None,
    *,
    key: str,
    temperature: float,
    moments: tuple[float, float] | None = None,
) -> Treatment:
    """The treatment on prompts that are in no table, from samples of the start policy that are at hand.

    Args:
        setting: The property.
        prompt_ids: [prompts].
        samples: Raw rewards of the samples, [prompts, samples], NaN where scoring failed. Draws are the first ones; a
            prompt with a failed one among them has no reference.
        of_texts: Mean rewards of the texts that the reference names, [prompts], where it names any.
        key: Of the treatment.
        temperature: That divides rewards and references.
        moments: Of a reference table, for a transform that needs them.
    """
    reference, draws = setting.reference, None
    values = reference.from_samples(samples, of_texts)
    if setting.transform.facts.needs == "draws":
        drawn = samples[:, : reference.num_draws].astype(np.float32)
        values = np.where(np.isfinite(drawn).all(axis=1), values, np.nan)
        draws = dict(zip(prompt_ids, np.nan_to_num(drawn), strict=True))
    return Treatment(
        key=key,
        transform=setting.transform.facts.name,
        options=setting.transform.options,
        references=dict(zip(prompt_ids, values.tolist(), strict=True)),
        temperature=temperature,
        draws=draws,
        moments=moments,
        good_from=good_from(setting),
    )


def all_good_of(config: RunConfig, table: ReferenceTable | None, prompt_ids: Sequence[str], *, key: str) -> AllGood:
    """What the run makes of the rewards of these prompts: every property's treatment, and the objective.

    A Lagrangian has its initial multipliers here: those that a run learns are known after it only.

    Raises:
        ConfigError: The objective does not fit the properties.
        ReferenceTableError, ModelError: As in `treatment_of`.
    """
    objective = objective_of(config.objective, config.properties)
    treatments = {name: treatment_of(config, name, table, prompt_ids, key=key) for name in config.properties}
    return AllGood(treatments, objective, config.missing_eos_penalty)


def tabled(setting: Property) -> bool:
    """Whether a run needs the reference table for this property."""
    return setting.reference.fixed is None or needs_moments(setting)


def needs_moments(setting: Property) -> bool:
    """Whether its transform takes mean and standard deviation over all pi_0 samples."""
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
    if setting.reference.fixed is not None:
        return setting.reference.fixed
    assert table is not None, "the caller refuses a run without one"
    return table.reference_values(name, setting.reference, prompt_ids)
