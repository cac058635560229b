"""One encoder for many threads: what waits is encoded together (dynamic batching).

Nothing waits for a batch to fill: an idle encoder starts with whatever is there, at once or, after a batch of several,
half a percent of its time later, and while it works, what comes gathers for the next batch. So a single request is as
fast as without batches, and the busier the encoder, the larger the batches. Each result is handed over as soon as the
encoder gives it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.encoding.interface import AnyEncoder, Description, ViewsDescription
from tfvlad.errors import ImageError
from tfvlad.images.views import View

_BATCH = 64  # forward passes; an image has one for each turn of its views
_GATHERING = 0.005  # of the time of the batch before

# What is made of an image: by which method of the encoder, with which arguments. Equal ones go into one batch.
_Kind = tuple[str, tuple[View, ...], float]


@dataclasses.dataclass(eq=False)
class _Waiting:
    kind: _Kind
    source: Any
    result: concurrent.futures.Future[Any]


class EncoderQueue:
    """Stands in for an encoder, and may be shared by any number of threads.

    It is a `tfvlad.encoding.interface.AnyEncoder`. Its callers are bounded in number, and so is what waits.

    Attributes:
      dim: see `tfvlad.Encoder`, as for the others.
      fingerprint: likewise.
      image_size: likewise.
      max_pixels: likewise.
    """

    def __init__(
        self,
        encoder: AnyEncoder,
        waiting: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        on_batch: Callable[[int, float], None] | None = None,
    ) -> None:
        """See the class.

        Args:
          encoder: does the work.
          waiting: entered by each caller while it waits.
          on_batch: told how many images a batch had, and the seconds that it took.
        """
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint
        self.image_size, self.max_pixels = encoder.image_size, encoder.max_pixels
        self._encoder = encoder
        self._waiting = waiting
        self._on_batch = on_batch
        self._queue: list[_Waiting] = []
        self._changed = threading.Condition()
        self._closed = False
        # One thread: two batches at once, each on all cores, would drive each other's values out of the caches.
        self._runner = threading.Thread(target=self._run, name="tfvlad-encoder", daemon=True)
        self._runner.start()

    def __len__(self) -> int:
        """How many images wait."""
        return len(self._queue)

    def encode(self, sources: Any) -> npt.NDArray[np.float32]:
        """See `tfvlad.Encoder.encode`; it takes a list of paths, bytes or pixels."""
        rows = [_checked(row) for row in self.encode_stream(sources)]
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def encode_stream(self, sources: Iterable[Any]) -> Generator[npt.NDArray[np.float32] | ImageError]:
        """See `tfvlad.Encoder.encode_stream`."""
        yield from self._ask(sources, ("encode_stream", (), 1.0))

    def describe_stream(self, sources: Iterable[Any]) -> Generator[Description | ImageError]:
        """See `tfvlad.Encoder.describe_stream`."""
        yield from self._ask(sources, ("describe_stream", (), 1.0))

    def describe_views(
        self, sources: Iterable[Any], views: Sequence[View], scale: float = 1.0
    ) -> Generator[ViewsDescription | ImageError]:
        """See `tfvlad.Encoder.describe_views`."""
        yield from self._ask(sources, ("describe_views", tuple(views), scale))

    def save(self, path: Any) -> None:
        """See `tfvlad.Encoder.save`."""
        self._encoder.save(path)

    def close(self) -> None:
        """Ends the thread; who still waits is told so."""
        with self._changed:
            self._closed = True
            queue, self._queue = self._queue, []
            self._changed.notify_all()
        for waiting in queue:
            waiting.result.cancel()
        self._runner.join()

    def _ask(self, sources: Iterable[Any], kind: _Kind) -> Iterator[Any]:
        waiting = [_Waiting(kind, source, concurrent.futures.Future()) for source in sources]
        with self._changed:
            if self._closed:
                raise ValueError("the encoder was closed")
            self._queue += waiting
            self._changed.notify(len(waiting))
        for one in waiting:
            with self._waiting():
                result = one.result.result()
            yield result

    def _run(self) -> None:
        gathering = 0.0
        while batch := self._next_batch(gathering):
            name, views, scale = batch[0].kind
            arguments = (views, scale) if name == "describe_views" else ()
            start = time.perf_counter()
            done = 0
            try:
                with contextlib.closing(
                    getattr(self._encoder, name)([one.source for one in batch], *arguments)
                ) as results:
                    for one, result in zip(batch, results, strict=True):
                        done += 1
                        one.result.set_result(result)
            except BaseException as error:  # each caller raises it, and the thread goes on
                for one in batch[done:]:
                    one.result.set_exception(error)
            seconds = time.perf_counter() - start
            if self._on_batch is not None:
                self._on_batch(len(batch), seconds)
            gathering = _GATHERING * seconds if len(batch) > 1 else 0.0

    def _next_batch(self, gathering: float) -> list[_Waiting]:
        """What is encoded next, the longest waiting first; nothing when the queue is closed.

        Args:
          gathering: seconds to wait for others behind the first. Several clients that were answered together ask again
            one behind the other, and an image alone takes up to twice its part of a batch.
        """
        with self._changed:
            if not self._queue:
                self._changed.wait_for(lambda: self._queue or self._closed)
                self._changed.wait_for(lambda: self._closed, gathering)
            if not self._queue:
                return []
            kind = self._queue[0].kind
            most = max(1, _BATCH // len({view.turn for view in kind[1]} or {0.0}))
            batch: list[_Waiting] = []
            rest: list[_Waiting] = []
            for one in self._queue:
                (batch if one.kind == kind and len(batch) < most else rest).append(one)
            self._queue = rest
            for one in batch:
                one.result.set_running_or_notify_cancel()
            return batch


def _checked(row: Any) -> Any:
    if isinstance(row, ImageError):
        raise row
    return row
