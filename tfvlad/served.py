"""The encoder as graph functions from encoded images to descriptors: what an exported model answers to.

Images are decoded by a `tf.data` pipeline inside the function, in parallel and ahead of the forward passes; it drops
images that cannot be decoded, and the results are scattered back to the rows that they belong to.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfvlad.encoder import Encoder
from tfvlad.features import batch_size, has_cells
from tfvlad.images import fit_to, preprocess
from tfvlad.layers import LocalFeatures

Tensor = Any
Rows = dict[str, Tensor]  # by output, each with one row per image

_DECODED_AHEAD = 16  # images, each by a thread of TensorFlow's pool


class Served(tf.Module):  # type: ignore[misc]
    """What a SavedModel of an encoder holds: its weights, and a function for each signature.

    Attributes:
      functions: by the name of their signature; see `tfvlad.export.saved_model`.
    """

    def __init__(self, encoder: Encoder, label: str) -> None:
        """Traces the functions of an encoder; `label` is what it calls itself."""
        super().__init__(name="tfvlad")
        self._config, self._preprocessing = encoder.config, encoder.backbone.preprocessing
        model, local = encoder.model(), LocalFeatures()
        self._weights = [weight.value for weight in model.weights]
        # At once where all images have one size; one by one where each has its own.
        self._together = batch_size(self._config.image_size) if self._config.resize == "stretch" else 1
        self._decode = _decoder(encoder)
        side = self._config.image_size
        grid, channels = encoder.backbone.model.compute_output_shape((1, side, side, 3))[1:3], encoder.backbone.channels
        backbone = encoder.backbone.model

        def describe(images: Tensor) -> Rows:
            return {"descriptor": model(images, training=False), "valid": tf.ones(tf.shape(images)[:1], tf.bool)}

        def map_features(images: Tensor) -> Rows:
            maps = backbone(images, training=False)
            shape = tf.shape(maps)
            cells = tf.reshape(local(maps), shape)
            return {
                "features": tf.pad(cells, [[0, 0], [0, grid[0] - shape[1]], [0, grid[1] - shape[2]], [0, 0]]),
                "grid": tf.repeat(shape[tf.newaxis, 1:3], shape[0], axis=0),
            }

        def serving_default(image_bytes: Tensor) -> Rows:
            count = tf.shape(image_bytes)[0]
            blank = {"descriptor": tf.zeros((count, encoder.dim)), "valid": tf.zeros((count,), tf.bool)}
            return self._of_bytes(image_bytes, describe, blank)

        def local_features(image_bytes: Tensor) -> Rows:
            count = tf.shape(image_bytes)[0]
            blank = {"features": tf.zeros((count, *grid, channels)), "grid": tf.zeros((count, 2), tf.int32)}
            rows = self._of_bytes(image_bytes, map_features, blank)
            height, width = tf.unstack(tf.reduce_max(tf.pad(rows["grid"], [[1, 0], [0, 0]]), axis=0))
            return {"features": rows["features"][:, :height, :width], "grid": rows["grid"]}

        def images(images: Tensor) -> Rows:
            return {"descriptor": self._of_pixels(images, model, encoder.dim)}

        def info(probe: Tensor) -> Rows:
            shape = tf.shape(probe)
            told = {"fingerprint": encoder.fingerprint, "dim": encoder.dim, "label": label}
            return {name: tf.fill(shape, value) for name, value in told.items()}

        strings, pixels = tf.TensorSpec((None,), tf.string), tf.TensorSpec((None, None, None, 3), tf.uint8)
        takes = {serving_default: strings, local_features: strings, images: pixels, info: strings}
        self.functions: dict[str, Callable[..., Rows]] = {
            function.__name__: tf.function(function, input_signature=[spec]) for function, spec in takes.items()
        }

    def _of_bytes(self, image_bytes: Tensor, forward: Callable[[Tensor], Rows], blank: Rows) -> Rows:
        """Runs `forward` over the images that can be decoded; the rows of the others stay blank."""
        dataset = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate()
        dataset = dataset.map(lambda row, data: (row, self._decode(data)), num_parallel_calls=_DECODED_AHEAD)
        dataset = dataset.ignore_errors().batch(self._together).prefetch(1).with_options(_plain())
        rows = blank
        for numbers, images in iter(dataset):
            part = forward(images)
            at = numbers[:, tf.newaxis]
            rows = {name: tf.tensor_scatter_nd_update(rows[name], at, part[name]) for name in rows}
        return rows

    def _of_pixels(self, images: Tensor, model: Callable[..., Tensor], dim: int) -> Tensor:
        config = self._config
        count = tf.shape(images)[0]
        descriptors = tf.zeros((count, dim))
        for start in tf.range(0, count, self._together):
            rows = tf.range(start, tf.minimum(start + self._together, count))
            resized = fit_to(images[start : start + self._together], config.image_size, config.resize)
            part = model(preprocess(resized, self._preprocessing), training=False)
            descriptors = tf.tensor_scatter_nd_update(descriptors, rows[:, tf.newaxis], part)
        return descriptors


def _decoder(encoder: Encoder) -> Callable[[Tensor], Tensor]:
    """() string -> (h, w, 3) float32, as the encoder's loader gives it; fails where the layer would have no cell."""
    side, model = encoder.config.image_size, encoder.backbone.model
    sides = range(1, side + 1)
    lowest = 1 + bisect.bisect_left(sides, True, key=lambda height: has_cells(model, height, side))
    narrowest = 1 + bisect.bisect_left(sides, True, key=lambda width: has_cells(model, side, width))
    size = (side, side, 3) if encoder.config.resize == "stretch" else (None, None, 3)

    def decode(data: Tensor) -> Tensor:
        image = tf.ensure_shape(encoder.loader.from_bytes(data), size)
        height, width = tf.unstack(tf.shape(image)[:2])
        with tf.control_dependencies([tf.debugging.Assert((height >= lowest) & (width >= narrowest), ["too small"])]):
            return tf.identity(image)

    return decode


def _plain() -> tf.data.Options:
    """A pipeline that lives for one request gains nothing by being rewritten and tuned."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options
