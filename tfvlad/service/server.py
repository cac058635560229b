"""The HTTP server: uvicorn, with a limit on the time that a client may take for each step of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tfvlad.service.app import Service

_HEAD_SECONDS = 10.0  # for the head of a request
_READ_SECONDS = 30.0  # for what was written to be taken by the client
_KEPT_SECONDS = 15  # that a connection stays open without a request
_LAST_SECONDS = 20  # that requests have to finish when the service ends
_LONGEST_HEAD = 16 * 1024  # bytes


class PatientProtocol(H11Protocol):
    """A connection that ends where the client lets it wait.

    uvicorn limits the time between two requests. This one also limits the time in which the head of a request must
    have arrived, and the time in which the client must take what was written. The application limits the time of a
    body.
    """

    head_seconds = _HEAD_SECONDS
    _head: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        for timer in (self._head, self._writing):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._is_idle() and self._head is None:
            self._expect_head()
        super().data_received(data)
        if not self._is_idle() and self._head is not None:
            self._head.cancel()
            self._head = None

    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        self._writing = self.loop.call_later(_READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    def _expect_head(self) -> None:
        self._head = self.loop.call_later(self.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self._head = None
        if self._is_idle():
            self.transport.abort()

    def _is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self.cycle is None or self.cycle.response_complete


class _Server(uvicorn.Server):
    """Ends quietly when it is told to; uvicorn would raise the signal a second time when all is done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        def end(number: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit and number == signal.SIGINT  # Ctrl-C for the second time
            self.should_exit = True

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket that the service is reached at.

    Raises:
      OSError: the address is taken, or is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.create_server((host, port), family=family, backlog=1024)
    opened.setblocking(False)
    # Connections inherit it. Otherwise the second packet of each answer waits, for 40 ms, until the first is confirmed.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def serve(make: Callable[[Callable[[], None]], Service], opened: socket.socket, on_start: Callable[[], None]) -> None:
    """Serves until the process is told to end (SIGTERM, Ctrl-C).

    Args:
      make: makes the service; it is given what the service calls to end itself.
      opened: see `listen`.
      on_start: called when clients are answered.

    Raises:
      TfvladError: an encoder could not be loaded at the start.
    """
    _allow_many_connections()
    server: Any = None

    def end() -> None:
        server.should_exit = True

    service = make(end)
    head_seconds = min(_HEAD_SECONDS, service.settings.body_seconds)
    config = uvicorn.Config(
        service.app,
        http=type("Protocol", (PatientProtocol,), {"head_seconds": head_seconds}),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEPT_SECONDS,
        timeout_graceful_shutdown=_LAST_SECONDS,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
    )
    server = _Server(config)

    async def run() -> None:
        running = asyncio.create_task(server.serve([opened]))
        while not server.started and not running.done():
            await asyncio.sleep(0.01)
        if server.started:
            on_start()
        await running

    asyncio.run(run())
    if service.failure is not None:
        raise service.failure


def _allow_many_connections() -> None:
    """Raises the number of connections that this process may have to what the system lets it have."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
