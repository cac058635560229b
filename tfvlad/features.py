"""Images -> local features, streaming: decoding ahead on threads, forward passes in batches, results in order."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import os
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.backbones import Backbone
from tfvlad.errors import ImageError
from tfvlad.images import ImageLoader, Source, source_name
from tfvlad.layers import LocalFeatures

Floats = npt.NDArray[np.float32]

_BATCH_PIXELS = 8 * 448 * 448
_LARGEST_BATCH = 32


@dataclasses.dataclass(frozen=True)
class FeatureBatch:
    """Local features of some images of one size.

    Attributes:
      positions: where each image stands in the input.
      features: (B, N, C) float32, unit length, cells row by row; N = h*w.
      grid: (h, w).
    """

    positions: list[int]
    features: Floats
    grid: tuple[int, int]


class FeatureExtractor:
    """Runs a backbone over a stream of images.

    Attributes:
      backbone: the network.
    """

    def __init__(self, backbone: Backbone, loader: ImageLoader, image_size: int) -> None:
        """Takes a backbone, the loader that prepares its images, and the side in pixels that sets the batch size."""
        self.backbone = backbone
        model, local = backbone.model, LocalFeatures()

        def extract(images: Any) -> tuple[Any, Any]:
            maps = model(images, training=False)
            return local(maps), tf.shape(maps)[1:3]

        self._loader = loader
        self._has_cells: dict[tuple[int, int], bool] = {}
        self._batch = batch_size(image_size)
        self._extract = tf.function(extract, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])

    def stream(self, sources: Iterable[Source]) -> Iterator[list[FeatureBatch | tuple[int, ImageError]]]:
        """Extracts local features, a window of a few batches at a time.

        Memory is bounded by the window; a generator of sources is read only as far ahead as that.

        Yields:
          For each window, in order: batches of images of one size, and (position, error) for each that has no
          features. The positions of a window come before those of the next.
        """
        for window in self._windows(sources):
            yield list(self._extract_window(window))

    def _windows(self, sources: Iterable[Source]) -> Iterator[list[tuple[int, Any]]]:
        """Groups of (position, prepared image or error); the next group is being decoded meanwhile."""
        pending: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
        size = 2 * self._batch
        numbered = enumerate(sources)
        with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 16), "tfvlad-decode") as pool:
            try:
                while True:
                    while len(pending) < 2 * size and (item := next(numbered, None)) is not None:
                        pending.append(pool.submit(self._prepare, *item))
                    if not pending:
                        return
                    yield [pending.popleft().result() for _ in range(min(size, len(pending)))]
            finally:
                for future in pending:
                    future.cancel()

    def _prepare(self, position: int, source: Source) -> tuple[int, Any]:
        try:
            image = self._loader.load(source)
            self._require_a_cell(image, source)
        except ImageError as error:
            return position, error
        return position, image

    def _require_a_cell(self, image: Any, source: Source) -> None:
        height, width, _ = image.shape
        if (height, width) not in self._has_cells:  # asking Keras takes longer than decoding
            self._has_cells[height, width] = has_cells(self.backbone.model, height, width)
        if not self._has_cells[height, width]:
            raise ImageError(source_name(source), f"{width}x{height} pixels are too few for this layer")

    def _extract_window(self, window: list[tuple[int, Any]]) -> Iterator[FeatureBatch | tuple[int, ImageError]]:
        by_size: dict[Any, list[tuple[int, Any]]] = {}
        for position, image in window:
            if isinstance(image, ImageError):
                yield position, image
            else:
                by_size.setdefault(tuple(image.shape), []).append((position, image))
        for images in by_size.values():
            for start in range(0, len(images), self._batch):
                chunk = images[start : start + self._batch]
                features, grid = self._extract(tf.stack([image for _, image in chunk]))
                height, width = np.asarray(grid).tolist()
                yield FeatureBatch([position for position, _ in chunk], np.asarray(features), (height, width))


def batch_size(image_size: int) -> int:
    """Images of this side in pixels that one forward pass takes, at most."""
    return int(np.clip(_BATCH_PIXELS // image_size**2, 1, _LARGEST_BATCH))


def has_cells(model: keras.Model, height: int, width: int) -> bool:
    """Whether an image of so many pixels has any local feature."""
    try:
        shape = model.compute_output_shape((1, height, width, 3))
    except ValueError:  # a window larger than what is left of the image
        return False
    return bool(min(shape[1:3]) > 0)
