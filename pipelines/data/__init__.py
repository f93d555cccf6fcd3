"""The text of a run: read, checked, split by prompt, and kept in the run folder."""

from pipelines.data.prepare import look_at_data, prepare, prepare_anew
from pipelines.data.prepared import SPLITS, Demonstration, Pair, PreparedData, Prompt, load_prepared, prepared_key

__all__ = [
    "SPLITS",
    "Demonstration",
    "Pair",
    "PreparedData",
    "Prompt",
    "load_prepared",
    "look_at_data",
    "prepare",
    "prepare_anew",
    "prepared_key",
]
