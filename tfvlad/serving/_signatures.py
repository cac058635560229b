"""The graph functions of an exported model, one for each signature: from encoded images to descriptors.

A request is worked off in windows of a few images. The images of a window are decoded in parallel; those of one size go
through the network together, and their results are written to the rows that they belong to.

Anybody may send a request, so what it costs is bounded: by the number of its images, and by nothing being done or
allocated for what is no image by its first bytes.
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
from tfvlad.images.loading import image_loader, is_image
from tfvlad.serving._indexed_descriptors import MOST_QUERIES, IndexedDescriptors

Tensor = Any
Rows = dict[str, Tensor]  # by output, each with one row per image

_MOST = 1024  # images in a request; TensorFlow Serving batches up to 1,000 requests of one image together
_ALWAYS = 16  # images that every signature takes: a batch of the size that the guide advises
_MOST_VALUES = 2**27  # of one output: half a GiB


class Served(tf.Module):  # type: ignore[misc]
    """The contents of an encoder's SavedModel: its weights, and a function for each signature.

    Args:
      encoder: what is exported.
      label: what the encoder calls itself in the answer of ``info``.
      name: of the signature that no other encoder has.
      xla: whether to compile the network with XLA.
      index: descriptors that ``search`` compares with; None for an encoder alone, which has no such signature.

    Attributes:
      functions: the functions by the names of their signatures; see `tfvlad.serving.saved_model.saved_model`.
      most: the images, or strings, that each takes at once, by the same names.
    """

    def __init__(
        self, encoder: Encoder, label: str, name: str, xla: bool = False, index: IndexedDescriptors | None = None
    ) -> None:
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
            return _usable({"descriptor": forward(images)})

        def map_features(images: Tensor) -> Rows:
            features, descriptors = maps(images)
            shape = tf.shape(features)
            return _usable(
                {
                    "descriptor": descriptors,
                    "features": tf.pad(features, [[0, 0], [0, grid[0] - shape[1]], [0, grid[1] - shape[2]], [0, 0]]),
                    "grid": tf.repeat(shape[tf.newaxis, 1:3], shape[0], axis=0),
                }
            )

        blank = {"descriptor": ((encoder.dim,), tf.float32), "valid": ((), tf.bool)}
        blank_map = {**blank, "features": ((*grid, backbone.channels), tf.float32), "grid": ((2,), tf.int32)}
        most_maps = _most(grid[0] * grid[1] * backbone.channels)

        def serving_default(image_bytes: Tensor) -> Rows:
            rows, order = self._of_bytes(_bounded(image_bytes, most_rows), describe, blank)
            return {name: tf.gather(part, order) for name, part in rows.items()}

        def local_features(image_bytes: Tensor) -> Rows:
            rows, order = self._of_bytes(_bounded(image_bytes, most_maps), map_features, blank_map)
            height, width = tf.unstack(tf.reduce_max(rows["grid"], axis=0))
            rows["features"] = rows["features"][:, :height, :width]
            told = {name: tf.gather(part, order) for name, part in rows.items()}
            return {**told, "fingerprint": tf.fill(tf.shape(image_bytes), encoder.fingerprint)}

        def images(images: Tensor) -> Rows:
            return {"descriptor": self._of_pixels(_bounded(images, most_rows), forward, encoder.dim)}

        def info(probe: Tensor) -> Rows:
            told = {"fingerprint": encoder.fingerprint, "dim": encoder.dim, "label": label, "signature": name}
            return {key: tf.fill(tf.shape(_bounded(probe, _MOST)), value) for key, value in told.items()}

        most_rows = _most(encoder.dim)
        strings, pixels = tf.TensorSpec((None,), tf.string), tf.TensorSpec((None, None, None, 3), tf.uint8)
        takes = {serving_default: strings, local_features: strings, images: pixels, info: strings}
        self.functions: dict[str, Callable[..., Rows]] = {
            function.__name__: tf.function(function, input_signature=[spec]) for function, spec in takes.items()
        }
        self.functions[name] = self.functions[serving_default.__name__]
        self.most = dict.fromkeys(self.functions, most_rows) | {"local_features": most_maps, "info": _MOST}
        self.index = index
        if index is None:
            return

        def search(image_bytes: Tensor, k: Tensor) -> Rows:
            described = serving_default(_bounded(image_bytes, most_queries))
            told = {"valid": described["valid"], "fingerprint": encoder.fingerprint, "index": index.version}
            told |= index.search(described["descriptor"], k, described["valid"])
            return {
                key: tf.broadcast_to(value, [tf.shape(k)[0]]) if key in texts else value for key, value in told.items()
            }

        texts, most_queries = ("fingerprint", "index"), min(most_rows, MOST_QUERIES)
        self.functions["search"] = tf.function(search, input_signature=[strings, tf.TensorSpec((None,), tf.int32)])
        self.most["search"] = most_queries

    def _of_bytes(
        self, image_bytes: Tensor, run: Callable[[Tensor], Rows], blank: dict[str, tuple[tuple[int, ...], tf.DType]]
    ) -> tuple[Rows, Tensor]:
        """Runs a function over the files that are images by their first bytes.

        Args:
          image_bytes: (n,) string.
          run: (B, h, w, 3) float32 -> rows of B images of one size.
          blank: the shape and the type of a row, by output. It is zeros where an image cannot be decoded.

        Returns:
          The rows of these files, and a row of zeros behind them; and (n,) int32, which of the rows is each file's.
        """
        at = tf.where(is_image(image_bytes))
        candidates = tf.gather_nd(image_bytes, at)
        count = tf.shape(candidates)[0]
        order = tf.tensor_scatter_nd_update(tf.fill(tf.shape(image_bytes), count), at, tf.range(count))
        rows = {name: tf.zeros((count + 1, *shape), dtype) for name, (shape, dtype) in blank.items()}
        for start in tf.range(0, count, self._window):
            images, sizes, waiting = self._decode(candidates[start : start + self._window])
            while tf.reduce_any(waiting):
                size = sizes[tf.argmax(waiting)]
                together = waiting & tf.reduce_all(sizes == size, axis=1)
                chosen = tf.where(together)
                part = run(tf.gather_nd(images, chosen)[:, : size[0], : size[1]])
                chosen += tf.cast(start, tf.int64)
                rows = {name: tf.tensor_scatter_nd_update(rows[name], chosen, part[name]) for name in rows}
                waiting &= ~together
        return rows, order

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


def _most(values: int) -> int:
    """The number of images whose rows of so many values one answer may hold."""
    return min(max(_MOST_VALUES // values, _ALWAYS), _MOST)


def _bounded(values: Tensor, most: int) -> Tensor:
    """Gives the rows of a request back, and fails before anything is done for them where there are too many."""
    count = tf.shape(values)[0]
    message = f"a request, or the requests that a server batches together, may have {most} rows at most; these are"
    with tf.control_dependencies([tf.debugging.Assert(count <= most, [message, count])]):
        return tf.identity(values)


def _usable(rows: Rows) -> Rows:
    """Adds ``valid``: False, with a row of zeros, where activations overflow or vanish and give no descriptor."""
    squares = tf.reduce_sum(rows["descriptor"] ** 2, axis=1)
    valid = tf.abs(squares - 1) < 0.5  # and not NaN
    usable = {
        name: tf.where(tf.reshape(valid, (-1, *[1] * (part.shape.rank - 1))), part, tf.zeros_like(part))
        for name, part in rows.items()
    }
    return {**usable, "valid": valid}


def _smallest(model: keras.Model, side: int) -> tuple[int, int]:
    """The smallest height and the smallest width, in pixels, with which an image has a local feature.

    Each is found with the other side at `side` pixels.
    """
    sides = range(1, side + 1)

    def has_cells(height: int, width: int) -> bool:
        return output_shapes(model, height, width) is not None

    height = 1 + bisect.bisect_left(sides, True, key=lambda height: has_cells(height, side))
    return height, 1 + bisect.bisect_left(sides, True, key=lambda width: has_cells(side, width))
