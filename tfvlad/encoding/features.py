"""Images -> local features, streaming: forward passes in batches, results in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.encoding.layers import LocalFeatures
from tfvlad.errors import ImageError
from tfvlad.images.batching import ImageBatch, Rejected, batches
from tfvlad.images.loading import ImageLoader, Source, source_name
from tfvlad.networks.backbones import Backbone

Floats = npt.NDArray[np.float32]
Tensor = Any

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
      loader: prepares its images.
      batch: images in a forward pass, at most.
      extract: graph function, (B, H, W, 3) float32 -> local features (B, N, C) float32 and their grid (2,) int32;
        traced once, whatever the sizes.
    """

    def __init__(self, backbone: Backbone, loader: ImageLoader, image_size: int) -> None:
        """Takes a backbone, the loader that prepares its images, and the side in pixels that sets the batch size."""
        model, local = backbone.model, LocalFeatures()

        def extract(images: Tensor) -> tuple[Tensor, Tensor]:
            maps = model(images, training=False)
            return local(maps), tf.shape(maps)[1:3]

        self.backbone = backbone
        self.loader = loader
        self.batch = batch_size(image_size)
        self.extract = tf.function(extract, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
        self._has_cells: dict[tuple[int, int], bool] = {}

    def stream(self, sources: Iterable[Source]) -> Iterator[list[FeatureBatch | Rejected]]:
        """Extracts local features, a window of a few batches at a time; see `tfvlad.images.batching.batches`.

        Yields:
          For each window, in order: batches of images of one size, and (position, error) for each that has no
          features.
        """
        for window in self.batches(sources):
            results: list[FeatureBatch | Rejected] = []
            for batch in window:
                results += self._extracted(batch) if isinstance(batch, ImageBatch) else [batch]
            yield results

    def batches(self, sources: Iterable[Source]) -> Iterator[list[ImageBatch | Rejected]]:
        """The images that `stream` runs through the network."""
        return batches(sources, self._load, self.batch)

    def _load(self, source: Source) -> Tensor:
        image = self.loader.load(source)
        height, width, _ = image.shape
        if (height, width) not in self._has_cells:  # asking Keras takes longer than decoding
            self._has_cells[height, width] = has_cells(self.backbone.model, height, width)
        if not self._has_cells[height, width]:
            raise ImageError(source_name(source), f"{width}x{height} pixels are too few for this layer")
        return image

    def _extracted(self, batch: ImageBatch) -> Iterator[FeatureBatch | Rejected]:
        features, grid = (np.asarray(tensor) for tensor in self.extract(batch.images))
        height, width = grid.tolist()
        # A sum is finite where all its terms are: unit vectors cannot overflow it.
        finite = np.isfinite(features.sum(axis=(1, 2)))
        for row in np.flatnonzero(~finite):
            yield batch.positions[row], ImageError(batch.names[row], "the network's activations are not finite")
        if not finite.all():
            features = features[finite]
        kept = [position for position, good in zip(batch.positions, finite, strict=True) if good]
        if kept:
            yield FeatureBatch(kept, features, (height, width))


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
