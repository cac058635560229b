"""What a service counts, for Prometheus to fetch."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Monitoring"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Monitoring:
    """The counters of one service.

    Attributes:
      requests: by route and status.
      seconds: from a request's arrival to its answer, by route.
      batches: images that were encoded together.
      batch_seconds: in which a batch was encoded.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "tfvlad_requests", "Requests that were answered or refused.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "tfvlad_request_seconds", "Time of a request.", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self.batches = Histogram(
            "tfvlad_encoder_batch_images", "Images encoded together.", buckets=_BATCHES, registry=self._registry
        )
        self.batch_seconds = Histogram(
            "tfvlad_encoder_batch_seconds", "Time of a batch.", buckets=_SECONDS, registry=self._registry
        )

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Adds a number that is looked at when it is fetched."""
        Gauge(name, help_text, registry=self._registry).set_function(value)

    def batch(self, images: int, seconds: float) -> None:
        """Counts a batch of the encoder."""
        self.batches.observe(images)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
