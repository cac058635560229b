"""What kernels and layers compute, written to be read: plain loops over float64, slow and obvious. Their judge."""

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


def mutual_nearest(features: npt.ArrayLike, others: npt.ArrayLike) -> list[tuple[int, int]]:
    """(N, D), (M, D) -> pairs that are each other's largest inner product; of those that tie, the lowest is."""
    first, second = np.asarray(features, np.float64), np.asarray(others, np.float64)
    pairs = []
    for i in range(len(first)):
        if len(second) == 0:
            break
        row = [float(np.sum(first[i] * other)) for other in second]
        j = row.index(max(row))
        column = [float(np.sum(feature * second[j])) for feature in first]
        if column.index(max(column)) == i:
            pairs.append((i, j))
    return pairs


def inliers(
    transform: npt.ArrayLike, query_positions: npt.ArrayLike, positions: npt.ArrayLike, threshold: float
) -> list[bool]:
    """(2, 3), (M, 2), (M, 2) -> whether |T(q) - d|² < t² (1 + s²) / 2, where s² is the mean squared scale of T."""
    matrix = np.asarray(transform, np.float64)
    squared_scale = float(np.sum(matrix[:, :2] ** 2)) / 2
    limit = threshold**2 * (1 + squared_scale) / 2
    agree = []
    for q, d in zip(np.asarray(query_positions, np.float64), np.asarray(positions, np.float64), strict=True):
        moved = matrix[:, :2] @ q + matrix[:, 2]
        agree.append(float(np.sum((moved - d) ** 2)) < limit)
    return agree
