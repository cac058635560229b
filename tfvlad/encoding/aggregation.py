"""How the activations of a layer become one vector per image: VLAD, or pooling over the cells.

Each way is an `Aggregation`. The work is cut in two: the *head* is a Keras layer that runs in one graph with the
network, on every device; what is left is done by `vectors` on a CPU, and by the *tail*, a Keras layer with the same
mathematics, on a GPU and in an exported model. `Encoder` and the sweep use the same objects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Protocol

import keras
import numpy as np
import numpy.typing as npt

from tfvlad.config import ENCODING_NAMES, EncoderConfig, Encoding
from tfvlad.encoding.keras_layers import VLAD, Kind, LocalFeatures, Pooling
from tfvlad_kernels import encode_vlad

Floats = npt.NDArray[np.float32]


class Aggregation(Protocol):
    """A way to make one vector per image of a layer's activations.

    Attributes:
      needs_codebook: whether centroids must be fitted first. `head` and `length` work before that.
      codebook: (K, C) float32 centroids; None before they are fitted, and where none are needed.
    """

    needs_codebook: ClassVar[bool]

    @property
    def codebook(self) -> Floats | None: ...

    @property
    def name(self) -> str:
        """The way in words, such as ``GeM pooling``."""

    def length(self, channels: int) -> int:
        """How many numbers a vector has, where the layer has so many channels."""

    def head(self) -> keras.layers.Layer:
        """The part that runs with the network: (B, h, w, C) activations -> what `vectors` and `tail` take."""

    def vectors(self, values: Floats | Sequence[Floats]) -> Floats:
        """The rest, on a CPU: what the head gave, an array or one for each image -> (B, D) float32, unit length."""

    def tail(self) -> keras.layers.Layer | None:
        """The rest as a Keras layer; None where the head leaves nothing to do."""

    def cell_head(self) -> keras.layers.Layer:
        """A head that keeps cells apart: (B, h, w, C) activations -> what `vectors_of_cells` takes, for each cell."""

    def vectors_of_cells(self, images: Sequence[Floats]) -> Floats:
        """Some cells of each of B images, (N, C) float32 of the `cell_head`, N >= 1 -> (B, D) float32, unit length."""


@dataclasses.dataclass(frozen=True, eq=False)
class VLADAggregation:
    """VLAD (Jégou et al. 2010) of unit-length local features, in the kernels or as `tfvlad.encoding.keras_layers.VLAD`.

    Attributes:
      clusters: K.
      intra_norm: L2-normalise each cluster's residual sum.
      power: exponent of the signed power on the VLAD.
      codebook: (K, C) float32 centroids, or None before they are fitted.
    """

    clusters: int
    intra_norm: bool = True
    power: float = 1.0
    codebook: Floats | None = None
    needs_codebook: ClassVar[bool] = True
    name: ClassVar[str] = ENCODING_NAMES["vlad"]

    def length(self, channels: int) -> int:
        return self.clusters * channels

    def head(self) -> keras.layers.Layer:
        return LocalFeatures(name="local_features")

    def vectors(self, values: Floats | Sequence[Floats]) -> Floats:
        if self.codebook is None:
            raise ValueError("the codebook must be fitted before a VLAD can be made")
        return encode_vlad(values, self.codebook, intra_norm=self.intra_norm, power=self.power)

    def tail(self) -> keras.layers.Layer:
        return VLAD(self.clusters, self.intra_norm, self.power, centroids=self.codebook, name="vlad")

    def cell_head(self) -> keras.layers.Layer:
        return self.head()

    def vectors_of_cells(self, images: Sequence[Floats]) -> Floats:
        return self.vectors(images)


@dataclasses.dataclass(frozen=True)
class PoolingAggregation:
    """One number per channel, all of it done by `tfvlad.encoding.keras_layers.Pooling` in the network's graph.

    Attributes:
      kind: the pooling.
      name: the encoding in words.
    """

    kind: Kind
    name: str
    needs_codebook: ClassVar[bool] = False
    codebook: ClassVar[Floats | None] = None

    def length(self, channels: int) -> int:
        return channels

    def head(self) -> keras.layers.Layer:
        return Pooling(self.kind, name="pooling")

    def vectors(self, values: Floats | Sequence[Floats]) -> Floats:
        return np.asarray(values)

    def tail(self) -> None:
        return None

    def cell_head(self) -> keras.layers.Layer:
        return keras.layers.Identity(dtype="float32", name="activations")

    def vectors_of_cells(self, images: Sequence[Floats]) -> Floats:
        pooling = Pooling(self.kind)
        return np.concatenate([np.asarray(pooling(cells[np.newaxis, np.newaxis])) for cells in images])  # as one row


def aggregation_of(config: EncoderConfig, codebook: Floats | None = None) -> Aggregation:
    """The aggregation that `config.encoding` names.

    Example:
      >>> aggregation_of(EncoderConfig(encoding="gem")).length(channels=512)
      512

    Args:
      config: settings.
      codebook: (K, C) float32 centroids for a VLAD, once they are fitted.
    """
    encoding: Encoding = config.encoding
    if encoding == "vlad":
        return VLADAggregation(config.clusters, config.intra_norm, config.power, codebook)
    # Fully connected features are a map of one cell, see `tfvlad.networks.backbones`, whose mean is the cell itself.
    return PoolingAggregation("mean" if encoding == "fc" else encoding, ENCODING_NAMES[encoding])
