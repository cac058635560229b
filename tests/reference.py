"""VLAD written to be read: plain loops over float64, slow and obvious. The judge of the kernels and of the layers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def nearest(features: npt.ArrayLike, centroids: npt.ArrayLike) -> list[int]:
    """(N, D), (K, D) -> for each feature, the lowest position among the centroids at the smallest distance."""
    x, c = np.asarray(features, np.float64), np.asarray(centroids, np.float64)
    labels = []
    for feature in x:
        distances = [float(np.sum((feature - centroid) ** 2)) for centroid in c]
        labels.append(distances.index(min(distances)))
    return labels


def residual_sums(features: npt.ArrayLike, centroids: npt.ArrayLike) -> Doubles:
    """(N, D), (K, D) -> (K, D): for each centroid, the sum of x - c over the features x that are nearest to it."""
    x, c = np.asarray(features, np.float64), np.asarray(centroids, np.float64)
    sums = np.zeros(c.shape)
    for feature, label in zip(x, nearest(x, c), strict=True):
        sums[label] += feature - c[label]
    return sums


def unit(vector: Doubles) -> Doubles:
    """Scales a vector to unit L2 norm; a zero vector stays zero."""
    norm = math.sqrt(float(np.sum(vector**2)))
    return vector / norm if norm > 0 else vector


def vlad(features: npt.ArrayLike, centroids: npt.ArrayLike, intra_norm: bool = True, power: float = 1.0) -> Doubles:
    """(N, D), (K, D) -> (K*D,): residual sums, then intra-normalisation, then signed power, then L2."""
    sums = residual_sums(features, centroids)
    if intra_norm:
        sums = np.stack([unit(residual) for residual in sums])
    if power != 1:
        sums = np.sign(sums) * np.abs(sums) ** power
    return unit(sums.reshape(-1))
