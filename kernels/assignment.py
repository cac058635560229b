"""Nearest centroid: the largest x·c - |c|²/2, which differs from -|x - c|²/2 by a term of x alone.

Scores are float32. Screening leaves most of them out, but never that of the nearest centroid, and which features are
screened follows from the feature and the codebook alone. So labels are the same bits in any batch and on any number
of threads; between processors they differ only where two scores are as close as their rounding.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from tfvlad_kernels.codebook import Codebook, pack_codebook
from tfvlad_kernels.codes import HAS_BYTE_PRODUCTS
from tfvlad_kernels.inputs import Floats, as_features, raise_not_finite
from tfvlad_kernels.jit import inlined, kernel
from tfvlad_kernels.microkernel import HALF_LANES, LANES, ROWS, TILE, best_lane, score_half_panel, score_panel
from tfvlad_kernels.scratch import Scratch, new_scratch
from tfvlad_kernels.screening import screen_tile
from tfvlad_kernels.threads import Counter, parallel_kernel, take

Labels = npt.NDArray[np.int32]


def assign(features: npt.ArrayLike, centroids: npt.ArrayLike) -> Labels:
    """Finds each feature's nearest centroid.

    Args:
      features: (N, D) float32, float16 or float64 (computed in float32).
      centroids: (K, D), likewise.

    Returns:
      (N,) int32 positions of the centroids; the lowest of those that tie. The same bits on any number of threads.

    Raises:
      TypeError: another dtype.
      ValueError: another shape, or NaN, Inf or magnitudes that overflow float32.
    """
    codebook = pack_codebook(centroids)
    rows = as_features(features, codebook.centroids.shape[1])
    labels = label_features(rows, codebook)
    if len(labels) and labels.min() < 0:
        raise_not_finite("features", features)
    return labels


def label_features(features: Floats, codebook: Codebook) -> Labels:
    """Finds the nearest centroids of (N, D) features in parallel: (N,) int32, with -1 as in `label_tile`."""
    labels = np.empty(len(features), np.int32)
    _label_tiles(-(-len(features) // TILE), features, codebook, labels)
    return labels


@parallel_kernel
def _label_tiles(
    workers: int, counter: Counter, tiles: int, features: Floats, codebook: Codebook, labels: Labels
) -> None:
    for _ in numba.prange(workers):
        scratch = new_scratch(codebook, TILE)
        rows = scratch.scores.shape[0]
        tile = take(counter)
        while tile < tiles:
            stop = min((tile + 1) * TILE, labels.shape[0])
            for first in range(tile * TILE, stop, rows):
                label_tile(features, first, codebook, scratch, labels[first : min(first + rows, stop)])
            tile = take(counter)


@kernel
def label_tile(features: Floats, first: int, codebook: Codebook, scratch: Scratch, labels: Labels) -> bool:
    """Finds the nearest centroids of consecutive features.

    Args:
      features: (N, D).
      first: the first feature.
      codebook: the centroids.
      scratch: from `new_scratch`.
      labels: (M,) int32, one for each feature from `first` on, at most len(scratch.scores); written. -1 where a
        feature is not finite, or its best score overflows.

    Returns:
      Whether all labels are valid.
    """
    if codebook.codes.shape[0] > 0:
        left = _screen(features, first, codebook, scratch, labels)
    else:
        left = _leave_all(features, first, codebook, scratch, labels)
    _score(features, codebook, scratch, left)
    valid = True
    for row in range(left):
        label = best_lane(scratch.scores, row)
        labels[scratch.order[row] - first] = label
        valid &= label >= 0
    return valid


@inlined
def _leave_all(features: Floats, first: int, codebook: Codebook, scratch: Scratch, labels: Labels) -> int:
    """Does what `screen_tile` does, but decides on no feature."""
    count: int = labels.shape[0]
    for row in range(count):
        scratch.order[row] = first + row
    return count


_screen = screen_tile if HAS_BYTE_PRODUCTS else _leave_all


@inlined
def _score(features: Floats, codebook: Codebook, scratch: Scratch, count: int) -> None:
    """Scores the first `count` features of `scratch.order`."""
    clusters, panels, order, scores = codebook.centroids.shape[0], codebook.panels, scratch.order, scratch.scores
    for row in range(count, -(-count // ROWS) * ROWS):
        order[row] = order[count - 1]
    for panel in range(panels.shape[0]):
        if clusters - panel * LANES <= HALF_LANES:
            for row in range(0, count, ROWS):
                score_half_panel(features, order, row, panels, panel, scores, features, order[0] + TILE)
        else:
            for row in range(0, count, ROWS):
                score_panel(features, order, row, panels, panel, scores, features, order[0] + TILE)
