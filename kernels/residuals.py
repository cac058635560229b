"""Sums per cluster: of residuals, for a VLAD, and of the features themselves, for one pass of k-means."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from tfvlad_kernels.assignment import Codebook, Labels, label_range, pack_codebook
from tfvlad_kernels.inputs import Floats, as_features, raise_not_finite
from tfvlad_kernels.jit import kernel, reduction
from tfvlad_kernels.microkernel import prefetch
from tfvlad_kernels.normalization import Doubles, squared_norm
from tfvlad_kernels.threads import Counter, parallel_kernel, take

Positions = npt.NDArray[np.intp]

_AHEAD = 2  # features that are on their way to the cache: the processor cannot guess which comes next
_MOST_BLOCKS = 64  # a block has its own (K, D) float64 sums
_LEAST_BLOCK = 1024  # features


@kernel
def group_by_label(labels: Labels, clusters: int) -> tuple[Positions, Positions]:
    """Sorts positions by label, keeping their order within a label.

    Args:
      labels: (N,) int32, from 0 to K - 1.
      clusters: K.

    Returns:
      (N,) positions, and (K + 1,) bounds: those with label k are positions[bounds[k] : bounds[k + 1]].
    """
    bounds = np.zeros(clusters + 1, np.intp)
    for label in labels:
        bounds[label + 1] += 1
    for k in range(clusters):
        bounds[k + 1] += bounds[k]
    positions, following = np.empty(labels.shape[0], np.intp), bounds[:clusters].copy()
    for position, label in enumerate(labels):
        positions[following[label]] = position
        following[label] += 1
    return positions, bounds


@kernel
def sum_residuals(
    features: Floats, start: int, labels: Labels, centroids: Floats, vlad: Floats, squares: Doubles
) -> None:
    """Sums x - c over the features of each cluster, in their order.

    The difference is taken before it is summed: features that equal their centroid leave exactly zero, which
    intra-normalisation keeps; it would blow the rounding of sum(x) - n·c up to unit length.

    Args:
      features: (N, D).
      start: the first feature.
      labels: (M,) int32, one for each feature from `start` on.
      centroids: (K, D).
      vlad: (K, D) float32, written; a row stays in the first-level cache until it is done.
      squares: (K,) float64, written: each row's squared norm.
    """
    positions, bounds = group_by_label(labels, centroids.shape[0])
    for k in range(centroids.shape[0]):
        vlad[k] = 0
        for i in range(bounds[k], bounds[k + 1]):
            prefetch(features, start + positions[min(i + _AHEAD, positions.shape[0] - 1)])
            row = start + positions[i]
            for d in range(features.shape[1]):
                vlad[k, d] += features[row, d] - centroids[k, d]
        squares[k] = squared_norm(vlad[k])


def cluster_sums(features: npt.ArrayLike, centroids: npt.ArrayLike) -> tuple[npt.NDArray[np.intp], Doubles, float]:
    """Runs one pass of Lloyd's k-means: the new centroids are sums / counts.

    Features are summed in blocks whose size follows from N alone, and the blocks in order: the same bits on any
    number of threads. Scratch: at most 64 * K * D * 8 bytes.

    Args:
      features: (N, D) float32, float16 or float64 (assigned in float32).
      centroids: (K, D), likewise.

    Returns:
      (K,) counts of the features nearest to each centroid (`assign`), (K, D) float64 sums of those features, and the
      inertia: the sum over all features of the squared distance to the nearest centroid.

    Raises:
      TypeError: another dtype.
      ValueError: another shape, or NaN, Inf or magnitudes that overflow float32.
    """
    codebook = pack_codebook(centroids)
    clusters, depth = codebook.centroids.shape
    rows = as_features(features, depth)
    block = max(_LEAST_BLOCK, -(-len(rows) // _MOST_BLOCKS))
    blocks = -(-len(rows) // block)
    counts = np.zeros((blocks, clusters), np.intp)
    sums = np.zeros((blocks, clusters, depth))
    inertias = np.zeros(blocks)
    _sum_blocks(rows, codebook, block, counts, sums, inertias)
    if not np.isfinite(inertias).all():
        raise_not_finite("features", features)
    return counts.sum(axis=0), sums.sum(axis=0), float(inertias.sum())


@parallel_kernel
def _sum_blocks(
    workers: int,
    counter: Counter,
    features: Floats,
    codebook: Codebook,
    block: int,
    counts: Positions,
    sums: Doubles,
    inertias: Doubles,
) -> None:
    for _ in numba.prange(workers):
        b = take(counter)
        while b < inertias.shape[0]:
            first = b * block
            labels = np.empty(min(block, features.shape[0] - first), np.int32)
            if label_range(features, first, codebook, labels):
                inertias[b] = _sum_features(features, first, labels, codebook.centroids, counts[b], sums[b])
            else:
                inertias[b] = np.nan
            b = take(counter)


@kernel
def _sum_features(
    features: Floats, start: int, labels: Labels, centroids: Floats, counts: Positions, sums: Doubles
) -> float:
    inertia = 0.0
    for i in range(labels.shape[0]):
        k = labels[i]
        counts[k] += 1
        for d in range(features.shape[1]):
            sums[k, d] += features[start + i, d]
        inertia += squared_distance(features[start + i], centroids[k])
    return inertia


@reduction
def squared_distance(a: Floats, b: Floats) -> float:
    """Returns the sum of squared differences of two vectors."""
    total = 0.0
    for d in range(a.shape[0]):
        difference = np.float64(a[d]) - np.float64(b[d])
        total += difference * difference
    return total
