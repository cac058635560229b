"""Runs a network over a stream of images, in batches, and keeps what several of its layers give in one forward pass."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.errors import ImageError
from tfvlad.images.batching import ImageBatch, Rejected, batches
from tfvlad.images.loading import ImageLoader
from tfvlad.images.renditions import Rendition, input_name
from tfvlad.images.sources import Source

Floats = npt.NDArray[np.float32]
Tensor = Any
Key = TypeVar("Key", bound=Hashable)

NOT_FINITE = "the network's activations are not finite"  # what is said of an image whose activations overflow

_BATCH_PIXELS = 8 * 448 * 448
_BATCH_BYTES = 1 << 28  # of the layers' outputs
_LARGEST_BATCH = 32


class Head(NamedTuple):
    """A Keras layer that is put on one of a network's outputs and computed in one graph with it.

    Attributes:
      output: the position, among the network's outputs, of the map that the layer takes.
      layer: (B, h, w, C) activations -> (B, ...), such as local features or pooled vectors; see
        `tfvlad.encoding.aggregation.Aggregation.head`.
    """

    output: int
    layer: keras.layers.Layer


@dataclasses.dataclass(frozen=True)
class FeatureBatch(Generic[Key]):
    """The values of all heads for some images of one size.

    Attributes:
      positions: where each image stands in the input.
      values: for each head (B, ...) float32, such as (B, N, C) local features, cells row by row, N = h*w.
      grids: for each head the (h, w) of the map that it took.
    """

    positions: list[int]
    values: dict[Key, Floats]
    grids: dict[Key, tuple[int, int]]


class FeatureExtractor(Generic[Key]):
    """Runs a network over a stream of images, and gives the values of one or several heads, in one forward pass.

    Args:
      model: see the attribute.
      loader: likewise.
      image_size: the side in pixels that decides the size of a batch.
      heads: see the attribute.

    Attributes:
      model: (B, H, W, 3) float32 -> one map (B, h, w, C), or several of different layers.
      loader: prepares the images.
      image_size: pixels, see `tfvlad.EncoderConfig`.
      batch: images in a forward pass, at most; bounded by their pixels and by what all outputs take.
      heads: the layers whose values are wanted, by a name for each.
      extract: graph function, (B, H, W, 3) float32 -> the heads' values, a list of (B, ...) float32; the grids of
        their maps, (heads, 2) int32; and (B,) bool, which images gave nothing but finite values. It is traced once,
        whatever the sizes.
    """

    def __init__(self, model: keras.Model, loader: ImageLoader, image_size: int, heads: Mapping[Key, Head]) -> None:
        wanted = list(heads.values())

        def extract(images: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
            maps = outputs_of(model, images)
            values = [tf.cast(head.layer(maps[head.output]), tf.float32) for head in wanted]
            grids = tf.stack([tf.shape(maps[head.output])[1:3] for head in wanted])
            # A sum is finite where all its terms are: unit vectors cannot overflow it.
            sums = [tf.reduce_sum(value, axis=tuple(range(1, value.shape.rank))) for value in values]
            return values, grids, tf.reduce_all(tf.math.is_finite(tf.stack(sums)), axis=0)

        self.model = model
        self.loader = loader
        self.image_size = image_size
        self.batch, _ = batch_shape(output_shapes(model, image_size, image_size) or [], image_size)
        self.heads = dict(heads)
        self.extract = tf.function(extract, [tf.TensorSpec((None, None, None, 3), tf.float32)], autograph=False)
        self._gives_all: dict[tuple[int, int], bool] = {}

    def stream(
        self, sources: Iterable[Source | Rendition], scale: float = 1.0
    ) -> Iterator[list[FeatureBatch[Key] | Rejected]]:
        """Runs the network over images, a window of a few batches at a time; see `tfvlad.images.batching.batches`.

        Args:
          sources: images.
          scale: about how large their sides are, in parts of `image_size`; batches of larger ones are smaller.

        Yields:
          For each window, in order: batches of images of one size, and (position, error) for each that gives nothing.
        """
        for window in self.batches(sources, scale):
            yield [step for batch in window for step in self.extracted(batch)]

    def batches(
        self, sources: Iterable[Source | Rendition], scale: float = 1.0
    ) -> Iterator[list[ImageBatch | Rejected]]:
        """The prepared images, window by window, that `extracted` takes."""
        return batches(sources, self._load, max(1, int(self.batch / max(scale, 1.0) ** 2)), input_name)

    def extracted(self, batch: ImageBatch | Rejected) -> Iterator[FeatureBatch[Key] | Rejected]:
        """Runs the network over one batch; an image that was rejected before stays so."""
        if not isinstance(batch, ImageBatch):
            yield batch
            return
        values, grids, finite = self._traced(batch.images)
        good = np.asarray(finite)
        for row in np.flatnonzero(~good):
            yield batch.positions[row], ImageError(batch.names[row], NOT_FINITE)
        if good.any():
            kept = slice(None) if good.all() else good
            yield FeatureBatch(
                [position for position, usable in zip(batch.positions, good, strict=True) if usable],
                {key: np.asarray(value)[kept] for key, value in zip(self.heads, values, strict=True)},
                {key: (h, w) for key, (h, w) in zip(self.heads, np.asarray(grids).tolist(), strict=True)},
            )

    @functools.cached_property
    def _traced(self) -> Any:
        """The one concrete function: TensorFlow advises against calling many functions that it had to trace."""
        return self.extract.get_concrete_function()

    def _load(self, source: Source | Rendition) -> Tensor:
        image = source.load(self.loader) if isinstance(source, Rendition) else self.loader.load(source)
        height, width, _ = image.shape
        if (height, width) not in self._gives_all:  # asking Keras takes longer than decoding
            self._gives_all[height, width] = output_shapes(self.model, height, width) is not None
        if not self._gives_all[height, width]:
            layers = "this layer" if len(self.model.outputs) == 1 else "these layers"
            raise ImageError(input_name(source), f"{width}x{height} pixels are too few for {layers}")
        return image


def outputs_of(model: keras.Model, images: Tensor) -> list[Tensor]:
    """Runs a network: (B, H, W, 3) float32 to its outputs, also where there is only one, which Keras unpacks."""
    return list(keras.tree.flatten(model(images, training=False)))


def output_shapes(model: keras.Model, height: int, width: int) -> list[tuple[int, ...]] | None:
    """The shapes (h, w, C) of the maps of one image of so many pixels; None where one of the maps has no cell."""
    try:
        found = model.compute_output_shape((1, height, width, 3))
    except ValueError:  # a window larger than what is left of the image
        return None
    shapes = [tuple(shape[1:]) for shape in (found if isinstance(found, list) else [found])]
    return shapes if all(min(shape) > 0 for shape in shapes) else None


def batch_size(image_size: int) -> int:
    """The number of images, of this side in pixels, that one forward pass takes at most."""
    return int(np.clip(_BATCH_PIXELS // image_size**2, 1, _LARGEST_BATCH))


def batch_shape(shapes: Iterable[tuple[int, ...]], image_size: int) -> tuple[int, int]:
    """The number of images in a forward pass, and the bytes that their outputs take.

    Args:
      shapes: of each layer's output for one image.
      image_size: pixels.
    """
    size = max(1, 4 * sum(math.prod(shape) for shape in shapes))
    batch = max(1, min(batch_size(image_size), _BATCH_BYTES // size))
    return batch, batch * size
