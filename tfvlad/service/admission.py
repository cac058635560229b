"""Admission: a bounded number of requests is worked on, on a bounded number of threads; the rest is refused at once."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from tfvlad.service.refusals import LATER, SOON, RefusalError

T = TypeVar("T")

_SHARE = 4  # one client has this part of all places


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


class Places:
    """Places for requests. A request that finds none is refused, so that nobody waits for what will come too late.

    It belongs to one event loop.
    """

    def __init__(self, total: int) -> None:
        """See the class.

        Args:
          total: of all clients; one address has a quarter of them.
        """
        self._total = total
        self._of_one = max(1, total // _SHARE)
        self._taken: collections.Counter[str] = collections.Counter()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    @contextlib.contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Occupies one of the places for the length of a block.

        Raises:
          RefusalError: there is none.
        """
        if self.taken >= self._total:
            raise RefusalError(503, "the service has as much to do as it can; try again soon", SOON)
        if self._taken[client] >= self._of_one:
            raise RefusalError(429, f"one client may have {self._of_one} requests at once; wait for answers", SOON)
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]


class Slots:
    """Slots for threads that compute. A thread that waits for the encoder lends its slot to another one."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._of_thread = threading.local()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds a slot for the length of a block."""
        with self._free:
            self._of_thread.has_slot = True
            try:
                yield
            finally:
                self._of_thread.has_slot = False

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Gives this thread's slot away for the length of a block, where it holds one."""
        if not getattr(self._of_thread, "has_slot", False):
            yield
            return
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()


class Workers:
    """Threads that work on requests."""

    def __init__(self, threads: int, name: str, slots: Slots | None = None) -> None:
        """See the class.

        Args:
          threads: how many.
          name: of the threads.
          slots: a thread holds one while it works; None for no such bound.
        """
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, f"tfvlad-{name}")
        self._slots = slots

    async def run(self, work: Callable[[], T], seconds: float, gone: Coroutine[Any, Any, None]) -> T:
        """Runs work on a thread.

        Args:
          work: what to do.
          seconds: after which the client is told that it takes too long; work that has begun goes on to its end.
          gone: ends when the client has gone; work that has not begun by then is not done.

        Raises:
          RefusalError: it takes too long.
          ClientGoneError: the client has gone.
        """
        future = self._pool.submit(self._with_slot, work)
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(_look_at)
        left = asyncio.create_task(gone)
        both: set[asyncio.Future[Any]] = {waiting, left}
        try:
            done, _ = await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if waiting in done:
                return waiting.result()
            if left in done:
                raise ClientGoneError
            raise RefusalError(503, f"there is no answer within {seconds:g} seconds; try again later", LATER)
        finally:
            left.cancel()
            future.cancel()

    def close(self) -> None:
        """Drops what has not begun, and waits for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _with_slot(self, work: Callable[[], T]) -> T:
        if self._slots is None:
            return work()
        with self._slots.held():
            return work()


def _look_at(future: asyncio.Future[T]) -> None:
    """Looks at the error of work that nobody waits for, as asyncio complains of errors that nobody looked at."""
    if not future.cancelled():
        future.exception()
