"""The encoder as Keras layers, for the GPU and for export: the mathematics of `tfvlad_kernels` in `keras.ops`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

_SMALLEST_NORM = 1e-12  # below it a vector counts as zero and stays zero
_GEM_POWER = 3.0  # Radenovic, Tolias and Chum, PAMI 2019, section 3.2, before any training
_SMALLEST_ACTIVATION = 1e-6  # a mean of powers of values below 0 has no root

Floats = npt.NDArray[np.float32]
Kind = Literal["mean", "max", "gem"]


class _Float32Layer(keras.layers.Layer):  # type: ignore[misc]
    """Computes in float32, whatever the network before it and the global policy, unless told otherwise."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})


@keras.saving.register_keras_serializable("tfvlad")
class LocalFeatures(_Float32Layer):
    """Activation map -> unit-length local features, one per cell (Ng et al. 2015, section 3.1).

    (B, H, W, C) float -> (B, H*W, C) float, row by row. A cell whose activations are all zero stays zero.
    """

    def call(self, maps: Any) -> Any:
        shape = ops.shape(maps)
        return _unit_length(ops.reshape(maps, (shape[0], shape[1] * shape[2], maps.shape[-1])))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return batch, None if height is None or width is None else height * width, channels


@keras.saving.register_keras_serializable("tfvlad")
class VLAD(_Float32Layer):
    """Local features -> VLAD (Jégou et al. 2010) with intra-normalisation (Arandjelović and Zisserman 2013).

    (B, N, C) float -> (B, K*C) float, unit length; the definition is that of `tfvlad_kernels.encode_vlad`.

    Args:
      clusters: K.
      intra_norm: L2-normalise each cluster's residual sum.
      power: exponent of the signed power, applied behind the intra-normalisation; 1 leaves the values alone.
      centroids: (K, C) float32; without it, load or set the weights before use.
    """

    def __init__(
        self,
        clusters: int,
        intra_norm: bool = True,
        power: float = 1.0,
        centroids: Floats | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.clusters, self.intra_norm, self.power = clusters, intra_norm, power
        self._given = centroids

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        initializer = "zeros" if self._given is None else _constant(self._given)
        self.centroids = self.add_weight(
            shape=(self.clusters, input_shape[-1]), initializer=initializer, trainable=False, name="centroids"
        )

    def call(self, features: Any) -> Any:
        # (B, N, C) @ (C, K) -> (B, N, K)
        scores = ops.matmul(features, ops.transpose(self.centroids)) - ops.sum(self.centroids**2, axis=1) / 2
        nearest = ops.argmax(scores, axis=-1)  # ties go to the lowest index
        members = ops.one_hot(nearest, self.clusters, axis=-1, dtype=features.dtype)
        residuals = features - ops.take(self.centroids, nearest, axis=0)
        sums = ops.matmul(ops.transpose(members, (0, 2, 1)), residuals)  # (B, K, N) @ (B, N, C) -> (B, K, C)
        if self.intra_norm:
            sums = _unit_length(sums)
        vlad = ops.reshape(sums, (ops.shape(sums)[0], self.clusters * self.centroids.shape[1]))
        if self.power != 1.0:
            vlad = ops.sign(vlad) * ops.power(ops.abs(vlad), self.power)
        return _unit_length(vlad)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        channels = input_shape[-1]
        return input_shape[0], None if channels is None else self.clusters * channels

    def get_config(self) -> dict[str, Any]:
        own = {"clusters": self.clusters, "intra_norm": self.intra_norm, "power": self.power}
        return {**super().get_config(), **own}


def _gem(maps: Any) -> Any:
    powers = ops.mean(ops.maximum(maps, _SMALLEST_ACTIVATION) ** _GEM_POWER, axis=(1, 2))
    return powers ** (1 / _GEM_POWER)


_POOLINGS: dict[Kind, Callable[[Any], Any]] = {
    "mean": lambda maps: ops.mean(maps, axis=(1, 2)),
    "max": lambda maps: ops.max(maps, axis=(1, 2)),
    "gem": _gem,
}


@keras.saving.register_keras_serializable("tfvlad")
class Pooling(_Float32Layer):
    """Activation map -> one vector: each channel's mean, maximum or generalised mean over all cells, then L2.

    (B, H, W, C) float -> (B, C) float, unit length.

    Args:
      kind: ``mean`` (Ng et al. 2015 compare with it), ``max``, or ``gem``, the generalised mean of power 3.
    """

    def __init__(self, kind: Kind, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, maps: Any) -> Any:
        return _unit_length(_POOLINGS[self.kind](maps))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("tfvlad")
class Whitening(_Float32Layer):
    """PCA-whitening to fewer dimensions, then L2 (Jégou and Chum 2012).

    (B, D) float -> (B, dim) float, unit length.

    Args:
      dim: dimensions left.
      projection: (D, dim) float32, principal directions over their standard deviations, as columns.
      offset: (dim,) float32, the projected mean; without both, load or set the weights before use.
    """

    def __init__(self, dim: int, projection: Floats | None = None, offset: Floats | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self._given = (projection, offset)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        projection, offset = ("zeros" if given is None else _constant(given) for given in self._given)
        self.projection = self.add_weight(
            shape=(input_shape[-1], self.dim), initializer=projection, trainable=False, name="projection"
        )
        self.offset = self.add_weight(shape=(self.dim,), initializer=offset, trainable=False, name="offset")

    def call(self, vlads: Any) -> Any:
        return _unit_length(ops.matmul(vlads, self.projection) - self.offset)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], self.dim

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dim": self.dim}


def _unit_length(vectors: Any) -> Any:
    norms = ops.sqrt(ops.sum(vectors**2, axis=-1, keepdims=True))
    return vectors / ops.maximum(norms, _SMALLEST_NORM)


def _constant(values: Floats) -> Any:
    return lambda shape, dtype: ops.convert_to_tensor(np.reshape(values, shape), dtype)
