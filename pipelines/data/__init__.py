"""The text of a run: read, checked, split by prompt, and kept in the run folder."""

from pipelines.data.prepare import prepare
from pipelines.data.prepared import SPLITS, Demonstration, Pair, PreparedData, Prompt, load_prepared

__all__ = ["SPLITS", "Demonstration", "Pair", "PreparedData", "Prompt", "load_prepared", "prepare"]
