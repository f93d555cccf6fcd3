"""The text of a run: read, checked, split by prompt, and kept in the run folder."""

from pipelines.data.prepare import data_key, prepare
from pipelines.data.prepared import SPLITS, Demonstration, Pair, PreparedData, Prompt, load_prepared, prepared_key

__all__ = [
    "SPLITS",
    "Demonstration",
    "Pair",
    "PreparedData",
    "Prompt",
    "data_key",
    "load_prepared",
    "prepare",
    "prepared_key",
]
