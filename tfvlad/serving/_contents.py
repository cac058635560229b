"""What is sent to a model server for images: their files as they are, or PNGs of their pixels, batch by batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, cast

import numpy as np
import tensorflow as tf

from tfvlad.encoding.interface import Description
from tfvlad.errors import ImageError
from tfvlad.images.files import read_file
from tfvlad.images.libraries import library_format, library_pixels, sides_for
from tfvlad.images.loading import rgb_pixels
from tfvlad.images.sources import Source, source_name

T = TypeVar("T")

_BATCH_BYTES = 16 * 2**20  # of one request, unless a single image is larger

# The name of each image; what is sent for it, or what is wrong with it; its size where it is sent in another one.
Batch = list[tuple[str, bytes | ImageError, tuple[int, int] | None]]


def batches(sources: Iterable[Source], most: int, image_size: int, max_pixels: int) -> Iterator[Batch]:
    """Gives images as they come, `most` together, or fewer where their files are large."""
    batch: Batch = []
    size = 0
    for source in sources:
        content, size_of_it = sent_content(source, image_size, max_pixels)
        added = 0 if isinstance(content, ImageError) else len(content)
        if batch and (len(batch) == most or size + added > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((source_name(source), content, size_of_it))
        size += added
    if batch:
        yield batch


def answered(batch: Batch, ask: Callable[[list[bytes]], Sequence[T | None]]) -> list[T | ImageError]:
    """Asks for those of a batch that could be read, and puts the answers beside the errors of the others."""
    contents = [content for _, content, _ in batch if isinstance(content, bytes)]
    answers = iter(ask(contents) if contents else [])
    results: list[T | ImageError] = []
    for name, content, size in batch:
        answer = content if isinstance(content, ImageError) else next(answers)
        if size is not None and isinstance(answer, Description):
            answer = cast(T, dataclasses.replace(answer, size=size))
        unusable = ImageError(name, "the server cannot use it: damaged, too small, or of another format")
        results.append(unusable if answer is None else answer)
    return results


def sent_content(source: Source, image_size: int, max_pixels: int) -> tuple[bytes | ImageError, tuple[int, int] | None]:
    """Makes what is sent for a source: its file's bytes, or pixels as a PNG, which is lossless.

    A file that the exported model does not decode is decoded here, just as a `tfvlad.Encoder` does.

    Returns:
      What is sent, or what is wrong; and the picture's width and height if what is sent may have others.
    """
    name = source_name(source)
    try:
        if isinstance(source, np.ndarray):
            return _png(rgb_pixels(source)), None
        content = source if isinstance(source, bytes) else read_file(source)
        if not content:
            raise ImageError(name, "an empty file")
        if library_format(content, name):
            pixels, size = library_pixels(content, name, max_pixels, shortest_side=sides_for(image_size))
            return _png(pixels), size
    except ImageError as error:
        return error, None
    return content, None


def _png(pixels: tf.Tensor) -> bytes:
    return bytes(tf.io.encode_png(pixels).numpy())
