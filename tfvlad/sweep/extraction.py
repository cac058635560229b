"""Images -> what every layer of a sweep gives for them, one forward pass each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.encoding.features import batch_size
from tfvlad.encoding.layers import LocalFeatures
from tfvlad.errors import ImageError
from tfvlad.images.batching import ImageBatch, Rejected, batches
from tfvlad.images.loading import ImageLoader, Source, source_name
from tfvlad.sweep._whole_network import WholeNetwork, output_shapes, outputs_of
from tfvlad.sweep.grid import POOLINGS, DescriptorKind

Floats = npt.NDArray[np.float32]
Tensor = Any

_BATCH_BYTES = 1 << 28  # of the layers' outputs
_GEM_POWER = 3.0  # Radenovic, Tolias and Chum, PAMI 2019, section 3.2, before any training
_SMALLEST = 1e-6  # activation; of a mean of powers of values below 0 there is no root


@dataclasses.dataclass(frozen=True)
class LayerBatch:
    """What a batch of images gives.

    Attributes:
      positions: where each image stands in the input.
      features: layer -> (B, N, C) float32 local features, unit length; of the layers whose VLADs are wanted.
      pooled: (layer, encoding) -> (B, C) float32, unit length; of the poolings and fully connected features wanted.
    """

    positions: list[int]
    features: dict[str, Floats]
    pooled: dict[tuple[str, str], Floats]


Step: TypeAlias = LayerBatch | Rejected | int  # an int: so many images of the input are behind us


class LayerExtractor:
    """Runs a network over a stream of images and keeps what several layers give.

    Attributes:
      batch: images in a forward pass, at most; bounded by what all the layers' outputs take.
      loader: prepares the images.
    """

    def __init__(
        self, network: WholeNetwork, loader: ImageLoader, image_size: int, kinds: Sequence[DescriptorKind]
    ) -> None:
        """Takes what prepares the images, the side in pixels that sets the batch size, and what is wanted."""
        layers = list(dict.fromkeys(kind.layer for kind in kinds))
        with_maps = {kind.layer for kind in kinds if kind.encoding == "vlad"}
        pooled = {(kind.layer, kind.encoding): None for kind in kinds if kind.encoding != "vlad"}
        model, local = network.cut(layers), LocalFeatures(dtype="float32")

        def extract(images: Tensor) -> tuple[dict[str, Tensor], list[Tensor], Tensor]:
            outputs = dict(zip(layers, outputs_of(model, images), strict=True))
            features = {layer: local(outputs[layer]) for layer in with_maps}
            vectors = [pool(outputs[layer], encoding) for layer, encoding in pooled]
            sums = [tf.reduce_sum(values, axis=(1, 2)) for values in features.values()]
            # A sum is finite where all its terms are: unit vectors cannot overflow it.
            sums += [tf.reduce_sum(values, axis=1) for values in vectors]
            return features, vectors, tf.reduce_all(tf.math.is_finite(tf.stack(sums)), axis=0)

        self._pooled = list(pooled)
        images = tf.TensorSpec((None, None, None, 3), tf.float32)
        self._run = tf.function(extract).get_concrete_function(images)
        self.batch, _ = batch_shape(output_shapes(model, image_size, image_size) or [], image_size)
        self.loader = loader
        self._model = model
        self._gives_all: dict[tuple[int, int], bool] = {}

    def stream(self, sources: Iterable[Source]) -> Iterator[Step]:
        """Extracts, a batch at a time.

        Yields:
          Batches; (position, error) for each image that gives nothing; and after each window of images, how many of
          the input are done.
        """
        done = 0
        for window in batches(sources, self._load, self.batch):
            for item in window:
                if isinstance(item, ImageBatch):
                    yield from self._extracted(item)
                    done += len(item.positions)
                else:
                    yield item
                    done += 1
            yield done

    def _load(self, source: Source) -> Tensor:
        image = self.loader.load(source)
        height, width, _ = image.shape
        if (height, width) not in self._gives_all:
            self._gives_all[height, width] = output_shapes(self._model, height, width) is not None
        if not self._gives_all[height, width]:
            raise ImageError(source_name(source), f"{width}x{height} pixels are too few for these layers")
        return image

    def _extracted(self, batch: ImageBatch) -> Iterator[LayerBatch | Rejected]:
        features, vectors, finite = self._run(batch.images)
        good = np.asarray(finite)
        for row in np.flatnonzero(~good):
            yield batch.positions[row], ImageError(batch.names[row], "the network's activations are not finite")
        if good.any():
            positions = [position for position, usable in zip(batch.positions, good, strict=True) if usable]
            kept = slice(None) if good.all() else good
            yield LayerBatch(
                positions,
                {layer: np.asarray(values)[kept] for layer, values in features.items()},
                {key: np.asarray(values)[kept] for key, values in zip(self._pooled, vectors, strict=True)},
            )


def batch_shape(shapes: Iterable[tuple[int, ...]], image_size: int) -> tuple[int, int]:
    """How many images of `image_size` pixels a forward pass takes, and the bytes of the outputs of so many.

    Args:
      shapes: of each layer's output for one image.
      image_size: pixels.
    """
    size = max(1, 4 * sum(math.prod(shape) for shape in shapes))
    batch = max(1, min(batch_size(image_size), _BATCH_BYTES // size))
    return batch, batch * size


def pool(output: Tensor, encoding: str) -> Tensor:
    """Pools activations over the cells of a map, then L2; fully connected features are only scaled.

    Args:
      output: (B, h, w, C), or (B, D) for ``fc``.
      encoding: ``mean`` (the paper's average pooling), ``max``, ``gem`` (generalised mean of power 3) or ``fc``.

    Returns:
      (B, C) or (B, D) float32, unit length.
    """
    assert encoding in (*POOLINGS, "fc")
    values = tf.cast(output, tf.float32)
    if encoding == "mean":
        values = tf.reduce_mean(values, axis=(1, 2))
    elif encoding == "max":
        values = tf.reduce_max(values, axis=(1, 2))
    elif encoding == "gem":
        powers = tf.reduce_mean(tf.maximum(values, _SMALLEST) ** _GEM_POWER, axis=(1, 2))
        values = powers ** (1 / _GEM_POWER)
    norms = tf.sqrt(tf.reduce_sum(values**2, axis=1, keepdims=True))
    return values / tf.maximum(norms, 1e-12)
