"""Numbers of a stage as gauges of the Ray cluster, which Prometheus reads on the metrics port of every node.

Only where a command joined a cluster that somebody else runs: a private Ray has nobody who scrapes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.util.metrics import Gauge

PREFIX = "allgood_"
_TAGS = ("run", "stage")


class RayMetricsSink:
    """A gauge per number, tagged with run and stage; Ray adds the prefix `ray_`. A stage that ended keeps its last."""

    def __init__(self, *, run: str, stage: str) -> None:
        self._tags = {"run": run, "stage": stage}
        self._gauges: dict[str, Gauge] = {}

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """The last numbers of the stage, and at which step they were."""
        for name, value in {"step": float(step), **metrics}.items():
            self._gauge(name).set(value, tags=self._tags)

    def summary(self, numbers: Mapping[str, float]) -> None:
        """Nothing: final numbers are in the run folder."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Nothing: a gauge holds a number."""

    def image(self, name: str, path: Path) -> None:
        """Nothing, likewise."""

    def finish(self) -> None:
        """Nothing is buffered here."""

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            from ray.util.metrics import Gauge

            description = f"{name} of the last step, as in metrics.jsonl"
            self._gauges[name] = Gauge(gauge_name(name), description=description, tag_keys=_TAGS)
        return self._gauges[name]


def gauge_name(name: str) -> str:
    """The name of a number of `metrics.jsonl` that Prometheus takes.

    >>> gauge_name("seconds.score.helpful")
    'allgood_seconds_score_helpful'
    """
    return PREFIX + re.sub(r"[^a-zA-Z0-9_]", "_", name)
