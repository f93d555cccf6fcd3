"""Numbers of the service for Prometheus. No label holds a text of a request."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "allgood_requests", "Requests by route and status", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "allgood_request_seconds", "Time to answer a request", ["route"], registry=self._registry
        )
        self._rows = Counter(
            "allgood_rows", "Rows judged; failed ones have no utility", ["objective", "result"], registry=self._registry
        )
        self._retries = Counter("allgood_retries", "Calls asked again of another replica", registry=self._registry)
        self._sampled = Counter(
            "allgood_sampled_prompts",
            "Prompts of which fresh samples were drawn for their references",
            registry=self._registry,
        )
        self.rows_in_work = Gauge("allgood_rows_in_work", "Rows that wait or are scored now", registry=self._registry)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Of any route."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_rows(self, objective: str, *, num_ok: int, num_failed: int) -> None:
        """Of an answer."""
        self._rows.labels(objective, "ok").inc(num_ok)
        self._rows.labels(objective, "failed").inc(num_failed)

    def count_retry(self) -> None:
        """A replica died or was not there."""
        self._retries.inc()

    def count_sampled(self) -> None:
        """A prompt that nobody knew was sampled."""
        self._sampled.inc()

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)
