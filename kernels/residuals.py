"""Sums per cluster: of residuals, for a VLAD, and of the features themselves, for one pass of k-means."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from tfvlad_kernels.assignment import Labels, label_tile
from tfvlad_kernels.codebook import Codebook, pack_codebook
from tfvlad_kernels.inputs import Floats, as_features, raise_not_finite
from tfvlad_kernels.jit import kernel, reduction
from tfvlad_kernels.normalization import Counts, Doubles
from tfvlad_kernels.scratch import new_scratch
from tfvlad_kernels.threads import Counter, parallel_kernel, take

_MOST_BLOCKS = 64  # a block has its own (K, D) float64 sums
_LEAST_BLOCK = 1024  # features


@kernel
def add_residuals(
    features: Floats, first: int, centroids: Floats, labels: Labels, vlad: Floats, counts: Counts
) -> None:
    """Adds x - c of consecutive features to their clusters' sums, in order.

    The difference is taken before it is summed: features that equal their centroid leave exactly zero, which
    intra-normalisation keeps; it would blow the rounding of sum(x) - n·c up to unit length.

    Args:
      features: (N, D).
      first: the first feature.
      centroids: (K, D).
      labels: (M,) int32, one for each feature from `first` on.
      vlad: (K, D) float32, added to, or written where a cluster has had no feature yet.
      counts: (K,) intp, how many features each cluster has had; added to.
    """
    for i in range(labels.shape[0]):
        k = labels[i]
        if counts[k] == 0:
            for d in range(features.shape[1]):
                vlad[k, d] = features[first + i, d] - centroids[k, d]
        else:
            for d in range(features.shape[1]):
                vlad[k, d] += features[first + i, d] - centroids[k, d]
        counts[k] += 1


def cluster_sums(features: npt.ArrayLike, centroids: npt.ArrayLike) -> tuple[Counts, Doubles, float]:
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
    _sum_blocks(blocks, rows, codebook, block, counts, sums, inertias)
    if not np.isfinite(inertias).all():
        raise_not_finite("features", features)
    return counts.sum(axis=0), sums.sum(axis=0), float(inertias.sum())


@parallel_kernel
def _sum_blocks(
    workers: int,
    counter: Counter,
    blocks: int,
    features: Floats,
    codebook: Codebook,
    block: int,
    counts: Counts,
    sums: Doubles,
    inertias: Doubles,
) -> None:
    for _ in numba.prange(workers):
        scratch = new_scratch(codebook, block)
        labels = np.empty(scratch.scores.shape[0], np.int32)
        b = take(counter)
        while b < blocks:
            stop = min((b + 1) * block, features.shape[0])
            for first in range(b * block, stop, labels.shape[0]):
                tile = labels[: min(labels.shape[0], stop - first)]
                if label_tile(features, first, codebook, scratch, tile):
                    inertias[b] += _add_features(features, first, codebook.centroids, tile, counts[b], sums[b])
                else:
                    inertias[b] = np.nan
            b = take(counter)


@kernel
def _add_features(
    features: Floats, first: int, centroids: Floats, labels: Labels, counts: Counts, sums: Doubles
) -> float:
    inertia = 0.0
    for i in range(labels.shape[0]):
        k = labels[i]
        counts[k] += 1
        for d in range(features.shape[1]):
            sums[k, d] += features[first + i, d]
        inertia += squared_distance(features[first + i], centroids[k])
    return inertia


@reduction
def squared_distance(a: Floats, b: Floats) -> float:
    """Returns the sum of squared differences of two vectors."""
    total = 0.0
    for d in range(a.shape[0]):
        difference = np.float64(a[d]) - np.float64(b[d])
        total += difference * difference
    return total
