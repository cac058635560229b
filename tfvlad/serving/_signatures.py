"""The graph functions of an exported model, one for each signature: from encoded images to descriptors.

A request is worked off in windows of a few images. The images of a window are decoded in parallel; those of one size go
through the network together, and their results are written to the rows that they belong to.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfvlad.encoding.encoder import Encoder
from tfvlad.encoding.features import batch_size, output_shapes
from tfvlad.encoding.keras_layers import LocalFeatures
from tfvlad.images.loading import image_loader

Tensor = Any
Rows = dict[str, Tensor]  # by output, each with one row per image


class Served(tf.Module):  # type: ignore[misc]
    """The contents of an encoder's SavedModel: its weights, and a function for each signature.

    Args:
      encoder: what is exported.
      label: what the encoder calls itself in the answer of ``info``.
      name: of the signature that no other encoder has.
      xla: whether to compile the network with XLA.

    Attributes:
      functions: the functions by the names of their signatures; see `tfvlad.serving.saved_model.saved_model`.
    """

    def __init__(self, encoder: Encoder, label: str, name: str, xla: bool = False) -> None:
        super().__init__(name="tfvlad")
        config, backbone = encoder.config, encoder.backbone
        side = config.image_size
        self._side, self._window = side, batch_size(side)
        self._loader = image_loader(side, config.resize, backbone.preprocessing, config.max_pixels)
        self._smallest = _smallest(backbone.model, side)
        grid = backbone.model.compute_output_shape((1, side, side, 3))[1:3]
        model, local = encoder.model_with_activations(), LocalFeatures()
        self._weights = [weight.value for weight in model.weights]

        def forward(images: Tensor) -> Tensor:
            return tf.cast(model(images, training=False)[0], tf.float32)

        def maps(images: Tensor) -> tuple[Tensor, Tensor]:
            descriptors, activations = model(images, training=False)
            features = tf.reshape(local(activations), tf.shape(activations))
            return tf.cast(features, tf.float32), tf.cast(descriptors, tf.float32)

        forward, maps = (tf.function(network, jit_compile=xla or None) for network in (forward, maps))

        def describe(images: Tensor) -> Rows:
            return {"descriptor": forward(images), "valid": tf.ones(tf.shape(images)[:1], tf.bool)}

        def map_features(images: Tensor) -> Rows:
            features, descriptors = maps(images)
            shape = tf.shape(features)
            return {
                "descriptor": descriptors,
                "valid": tf.ones(shape[:1], tf.bool),
                "features": tf.pad(features, [[0, 0], [0, grid[0] - shape[1]], [0, grid[1] - shape[2]], [0, 0]]),
                "grid": tf.repeat(shape[tf.newaxis, 1:3], shape[0], axis=0),
            }

        def serving_default(image_bytes: Tensor) -> Rows:
            count = tf.shape(image_bytes)[0]
            blank = {"descriptor": tf.zeros((count, encoder.dim)), "valid": tf.zeros((count,), tf.bool)}
            return self._of_bytes(image_bytes, describe, blank)

        def local_features(image_bytes: Tensor) -> Rows:
            count = tf.shape(image_bytes)[0]
            blank = {
                "descriptor": tf.zeros((count, encoder.dim)),
                "valid": tf.zeros((count,), tf.bool),
                "features": tf.zeros((count, *grid, backbone.channels)),
                "grid": tf.zeros((count, 2), tf.int32),
            }
            rows = self._of_bytes(image_bytes, map_features, blank)
            height, width = tf.unstack(tf.reduce_max(tf.pad(rows["grid"], [[1, 0], [0, 0]]), axis=0))
            told = tf.fill((count,), encoder.fingerprint)
            return {**rows, "features": rows["features"][:, :height, :width], "fingerprint": told}

        def images(images: Tensor) -> Rows:
            return {"descriptor": self._of_pixels(images, forward, encoder.dim)}

        def info(probe: Tensor) -> Rows:
            told = {"fingerprint": encoder.fingerprint, "dim": encoder.dim, "label": label, "signature": name}
            return {key: tf.fill(tf.shape(probe), value) for key, value in told.items()}

        strings, pixels = tf.TensorSpec((None,), tf.string), tf.TensorSpec((None, None, None, 3), tf.uint8)
        takes = {serving_default: strings, local_features: strings, images: pixels, info: strings}
        self.functions: dict[str, Callable[..., Rows]] = {
            function.__name__: tf.function(function, input_signature=[spec]) for function, spec in takes.items()
        }
        self.functions[name] = self.functions[serving_default.__name__]

    def _of_bytes(self, image_bytes: Tensor, run: Callable[[Tensor], Rows], blank: Rows) -> Rows:
        """Runs a function over the images that can be decoded; the rows of the others stay blank."""
        rows = blank
        for start in tf.range(0, tf.shape(image_bytes)[0], self._window):
            images, sizes, waiting = self._decode(image_bytes[start : start + self._window])
            while tf.reduce_any(waiting):
                size = sizes[tf.argmax(waiting)]
                together = waiting & tf.reduce_all(sizes == size, axis=1)
                at = tf.where(together)
                part = run(tf.gather_nd(images, at)[:, : size[0], : size[1]])
                at += tf.cast(start, tf.int64)
                rows = {name: tf.tensor_scatter_nd_update(rows[name], at, part[name]) for name in rows}
                waiting &= ~together
        return rows

    def _decode(self, image_bytes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prepares images in parallel.

        Returns:
          (n, image_size, image_size, 3) float32, padded to the right and below; (n, 2) int32, their sizes; (n,) bool,
          which of them can be used.
        """
        side = self._side

        def prepare(data: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            image, succeeded = self._loader.try_bytes(data)
            size = tf.shape(image)[:2]
            padding = tf.pad((side - size)[:, tf.newaxis], [[0, 1], [1, 0]])
            image = tf.ensure_shape(tf.pad(image, padding), (side, side, 3))
            return image, size, succeeded & tf.reduce_all(size >= self._smallest)

        outputs = (
            tf.TensorSpec((side, side, 3), tf.float32), tf.TensorSpec((2,), tf.int32), tf.TensorSpec((), tf.bool),
        )  # fmt: skip
        prepared: tuple[Tensor, Tensor, Tensor]
        with tf.device("CPU"):
            prepared = tf.map_fn(prepare, image_bytes, fn_output_signature=outputs, parallel_iterations=self._window)
        return prepared

    def _of_pixels(self, images: Tensor, forward: Callable[[Tensor], Tensor], dim: int) -> Tensor:
        count = tf.shape(images)[0]
        descriptors = tf.zeros((count, dim))
        image = tf.TensorSpec((None, None, 3), tf.float32)
        for start in tf.range(0, count, self._window):
            window = images[start : start + self._window]
            with tf.device("CPU"):
                prepared = tf.map_fn(
                    self._loader.from_pixels, window, fn_output_signature=image, parallel_iterations=self._window
                )
            at = tf.range(start, start + tf.shape(window)[0])[:, tf.newaxis]
            descriptors = tf.tensor_scatter_nd_update(descriptors, at, forward(prepared))
        return descriptors


def _smallest(model: keras.Model, side: int) -> tuple[int, int]:
    """The smallest height and the smallest width, in pixels, with which an image has a local feature.

    Each is found with the other side at `side` pixels.
    """
    sides = range(1, side + 1)

    def has_cells(height: int, width: int) -> bool:
        return output_shapes(model, height, width) is not None

    height = 1 + bisect.bisect_left(sides, True, key=lambda height: has_cells(height, side))
    return height, 1 + bisect.bisect_left(sides, True, key=lambda width: has_cells(side, width))
