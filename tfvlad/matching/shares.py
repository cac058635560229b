"""Which cells carry the cosine of two descriptors.

Aggregation and whitening are linear in the cells once an image's norms are fixed: a descriptor is then a sum of one
vector per cell and a constant, and its cosine with any other descriptor is a sum of one number per cell. The split is
exact. It is done for one image at a time, against the descriptor of the other.

Where a signed power changes a VLAD's components, the factors by which it does so are fixed as the norms are; the split
is exact then, too, but cells whose residuals cancel each other in a component get large shares of opposite signs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from tfvlad_kernels import assign

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def vlad_shares(
    features: Floats,
    other: Floats,
    codebook: Floats,
    whitening: tuple[Floats, Floats] | None = None,
    intra_norm: bool = True,
    power: float = 1.0,
) -> Doubles:
    """Splits the cosine of an image's VLAD descriptor with another into its cells' shares.

    Args:
      features: (N, C) float32, the image's local features, all of them.
      other: (D,) float32, the other image's descriptor, of unit length.
      codebook: (K, C) float32 centroids.
      whitening: `tfvlad.encoding.whitening.Whitening.folded`, or None where descriptors are not whitened.
      intra_norm: see `tfvlad.EncoderConfig`.
      power: likewise.

    Returns:
      (N,) float64, whose sum is the cosine.
    """
    labels = assign(features, codebook)
    residuals = features.astype(np.float64) - codebook[labels]
    vlad = np.zeros(codebook.shape)
    np.add.at(vlad, labels, residuals)
    factors = np.ones(vlad.shape)  # of each component, by which a sum of residuals becomes the VLAD
    if intra_norm:
        factors *= _inverse(np.linalg.norm(vlad, axis=1, keepdims=True))
    if power != 1:
        factors *= _inverse(np.abs(vlad * factors)) ** (1 - power)
    weights, constant = _weights((vlad * factors).ravel(), other, whitening)
    # (K, C) weights of the components, taken for each cell's cluster: (N, C)
    split: Doubles = np.sum(residuals * (weights.reshape(vlad.shape) * factors)[labels], axis=1)
    return split + constant / len(features)


def pooling_shares(
    activations: Floats,
    other: Floats,
    kind: Literal["mean", "max", "gem"],
    whitening: tuple[Floats, Floats] | None = None,
) -> Doubles:
    """Splits the cosine of an image's pooled descriptor with another into its cells' shares.

    Args:
      activations: (N, C) float32, the layer's activations as they are pooled, before any normalisation.
      other: see `vlad_shares`.
      kind: see `tfvlad.encoding.keras_layers.Pooling`. A channel's maximum is the share of the first cell that has it.
      whitening: see `vlad_shares`.

    Returns:
      (N,) float64, whose sum is the cosine.
    """
    values = activations.astype(np.float64)
    if kind == "max":
        parts = np.zeros(values.shape)
        channels = np.arange(values.shape[1])
        first = values.argmax(axis=0)
        parts[first, channels] = values[first, channels]
    elif kind == "gem":
        cubes = np.maximum(values, 0) ** 3 / len(values)
        parts = cubes * _inverse(np.cbrt(cubes.sum(axis=0))) ** 2
    else:
        parts = values / len(values)
    weights, constant = _weights(parts.sum(axis=0), other, whitening)
    split: Doubles = parts @ weights
    return split + constant / len(values)


def _weights(vector: Doubles, other: Floats, whitening: tuple[Floats, Floats] | None) -> tuple[Doubles, float]:
    """The linear map from an image's vector, before its norm, to its descriptor's cosine with another.

    Returns:
      (V,) float64 and a number: the cosine is the sum of the vector times the former, and the latter.
    """
    length = _inverse(np.linalg.norm(vector))
    direction = other.astype(np.float64)
    if whitening is None:
        return direction * length, 0.0
    projection, offset = (part.astype(np.float64) for part in whitening)
    whitened = _inverse(np.linalg.norm((vector * length) @ projection - offset))
    return projection @ direction * (length * whitened), -float(offset @ direction * whitened)


def _inverse(values: npt.ArrayLike) -> Doubles:
    """1 / values; 0 where they are 0, as what is normalised stays 0 there."""
    array = np.asarray(values, np.float64)
    return np.divide(1.0, array, out=np.zeros(array.shape), where=array != 0)
