"""What a service counts, for Prometheus to fetch."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CONTENT_TYPE_LATEST", "ROUTE", "Counted", "Monitoring"]

ROUTE = "tfvlad.route"  # the key of a request's scope under which its route's path is, as soon as that is known

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


class Counted:
    """Counts every answer, refusals by `tfvlad.service.access.Access` among them: a layer around all others.

    What is asked for at an address that there is not, or is refused before that was looked at, has the route `other`.
    """

    def __init__(self, app: ASGIApp, monitoring: Monitoring) -> None:
        self._app = app
        self._monitoring = monitoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_look)
        finally:
            route = scope.get(ROUTE, "other")
            self._monitoring.requests.labels(route, status).inc()
            self._monitoring.seconds.labels(route).observe(time.perf_counter() - start)
