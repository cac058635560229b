"""Groups images into batches of one size, which are read and decoded ahead on threads; runs two stages at once."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

import tensorflow as tf

from tfvlad.errors import ImageError

Tensor = Any
T = TypeVar("T")
U = TypeVar("U")
Rejected: TypeAlias = tuple[int, ImageError]  # where the image stands in the input, and what is wrong with it


@dataclasses.dataclass(frozen=True)
class ImageBatch:
    """Prepared images of one size.

    Attributes:
      positions: where each image stands in the input.
      names: the name of each image in messages.
      images: (B, h, w, 3) float32.
    """

    positions: list[int]
    names: list[str]
    images: Tensor


def batches(
    sources: Iterable[T], load: Callable[[T], Tensor], size: int, name_of: Callable[[T], str]
) -> Iterator[list[ImageBatch | Rejected]]:
    """Groups images into batches, one window of images after the other, while the next window is being decoded.

    A window holds images of any sizes, so that batches are filled even where sizes vary. Memory is bounded by two
    windows. A generator of sources is read in the caller's thread, and no further ahead than that.

    Args:
      sources: images.
      load: turns one into an (h, w, 3) float32 tensor or raises `ImageError`; called on several threads.
      size: images in a batch, at most.
      name_of: names one in messages.

    Yields:
      For each window, in order: its batches, and each image that could not be loaded. The positions of a window come
      before those of the next.
    """

    def prepare(position: int, source: T) -> tuple[int, str, Tensor | ImageError]:
        name = name_of(source)
        try:
            return position, name, load(source)
        except ImageError as error:
            return position, name, error

    pending: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
    window = 2 * size
    numbered = enumerate(sources)
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 16), "tfvlad-decode") as pool:
        try:
            while True:
                while len(pending) < 2 * window and (item := next(numbered, None)) is not None:
                    pending.append(pool.submit(prepare, *item))
                if not pending:
                    return
                yield list(_grouped([pending.popleft().result() for _ in range(min(window, len(pending)))], size))
        finally:
            for future in pending:
                future.cancel()


def _grouped(window: list[tuple[int, str, Tensor | ImageError]], size: int) -> Iterator[ImageBatch | Rejected]:
    by_shape: dict[tuple[int, ...], list[tuple[int, str, Tensor]]] = {}
    for position, name, image in window:
        if isinstance(image, ImageError):
            yield position, image
        else:
            by_shape.setdefault(tuple(image.shape), []).append((position, name, image))
    for alike in by_shape.values():
        for start in range(0, len(alike), size):
            positions, names, images = zip(*alike[start : start + size], strict=True)
            yield ImageBatch(list(positions), list(names), tf.stack(images))


def overlapped(windows: Iterator[T], work: Callable[[T], U]) -> Generator[U]:
    """Applies `work` to each window in another thread, while the caller's thread makes the next window.

    Yields:
      The results, in order.
    """
    with concurrent.futures.ThreadPoolExecutor(1, "tfvlad-encode") as pool:
        before: concurrent.futures.Future[U] | None = None
        for window in windows:
            following = pool.submit(work, window)
            if before is not None:
                yield before.result()
            before = following
        if before is not None:
            yield before.result()
