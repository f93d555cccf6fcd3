"""Some of the samples of π0 with their rewards, for whoever loads the export; see `allgood.scorers.known_rewards`."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from allgood.scorers.known_rewards import KnownRewards
from pipelines.config.properties import FunctionProperty
from pipelines.config.run import RunConfig
from pipelines.references.table import SAMPLES, ReferenceTable

NUM_KNOWN = 32


def known_rewards_of(config: RunConfig, table: ReferenceTable) -> KnownRewards | None:
    """The first samples that every model could score; None without a model or a sample.

    Functions are left out: their code is compared, and they may look at the neighbours of a row.
    """
    names = [name for name, setting in config.properties.items() if not isinstance(setting, FunctionProperty)]
    columns = {name: f"reward.{name}" for name in names}
    rows = pq.read_table(table.folder / SAMPLES, columns=["prompt", "response", *columns.values()])
    rewards = {name: rows[column].to_numpy().astype(np.float32) for name, column in columns.items()}
    if not rewards:
        return None
    complete = np.flatnonzero(np.isfinite(np.stack(list(rewards.values()))).all(axis=0))[:NUM_KNOWN]
    if not len(complete):
        return None
    chosen = rows.take(complete)
    return KnownRewards(
        tuple(chosen["prompt"].to_pylist()),
        tuple(chosen["response"].to_pylist()),
        {name: column[complete] for name, column in rewards.items()},
    )
