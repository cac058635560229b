"""Nearest centroid: the largest x·c - |c|²/2, which differs from -|x - c|²/2 by a term of x alone."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from tfvlad_kernels.inputs import Floats, as_centroids, as_features, raise_not_finite
from tfvlad_kernels.jit import kernel
from tfvlad_kernels.microkernel import HALF_LANES, LANES, ROWS, TILE, best_lane, score_half_panel, score_panel
from tfvlad_kernels.normalization import squared_norm
from tfvlad_kernels.threads import Counter, parallel_kernel, take

Labels = npt.NDArray[np.int32]

_MOST_SCORES = 2**18  # 1 MiB: codebooks so large that a tile would have more get smaller tiles


class Codebook(NamedTuple):
    """Centroids, and what the scores need of them.

    Attributes:
      centroids: (K, D) float32.
      panels: (P, D + 1, LANES) float32; centroid p * LANES + l is lane l of panel p, and below it is -|c|²/2. Lanes
        without a centroid have -Inf there: they never win.
    """

    centroids: Floats
    panels: Floats


def pack_codebook(centroids: npt.ArrayLike) -> Codebook:
    """Validates centroids and lays them out for the scores.

    Raises:
      TypeError: not float16, float32 or float64.
      ValueError: not (K, D) with K and D at least 1, NaN, Inf, or so large that |c|² overflows float32.
    """
    rows = as_centroids(centroids)
    clusters, depth = rows.shape
    panels = np.zeros((-(-clusters // LANES), depth + 1, LANES), np.float32)
    if not _fill_panels(rows, panels):
        raise_not_finite("centroids", centroids)
    return Codebook(rows, panels)


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
    labels = np.empty(len(rows), np.int32)
    label_features(rows, codebook, labels)
    if len(labels) and labels.min() < 0:
        raise_not_finite("features", features)
    return labels


@kernel
def _fill_panels(centroids: Floats, panels: Floats) -> bool:
    depth = centroids.shape[1]
    panels[-1, depth] = -np.inf
    finite = True
    for k in range(centroids.shape[0]):
        panel, lane = divmod(k, LANES)
        for d in range(depth):
            panels[panel, d, lane] = centroids[k, d]
        panels[panel, depth, lane] = -squared_norm(centroids[k]) / 2
        finite &= np.isfinite(panels[panel, depth, lane])
    return finite


@parallel_kernel
def label_features(workers: int, counter: Counter, features: Floats, codebook: Codebook, labels: Labels) -> None:
    """Finds the nearest centroids of (N, D) features in parallel; `labels` (N,) int32 as in `label_range`."""
    pieces = -(-features.shape[0] // TILE)
    for _ in numba.prange(workers):
        piece = take(counter)
        while piece < pieces:
            first = piece * TILE
            label_range(features, first, codebook, labels[first : first + TILE])
            piece = take(counter)


@kernel
def label_range(features: Floats, start: int, codebook: Codebook, labels: Labels) -> bool:
    """Finds the nearest centroids of consecutive features, tile by tile.

    Args:
      features: (N, D).
      start: the first feature.
      codebook: the centroids.
      labels: (M,) int32, one for each feature from `start` on; written. -1 where a feature is not finite, or its best
        score overflows.

    Returns:
      Whether all labels are valid.
    """
    count, width = labels.shape[0], codebook.panels.shape[0] * LANES
    tiles = -(-count // max(1, min(TILE, _MOST_SCORES // width)))
    tile = -(-count // max(1, tiles) // ROWS) * ROWS  # even shares: a small last one would read all panels, too
    scores = np.full((tile, width), np.float32(-np.inf))  # -Inf stays in lanes that are never written
    valid = True
    for i in range(tiles):
        valid &= _label_tile(features, start + i * tile, codebook, scores, labels[i * tile : (i + 1) * tile])
    return valid


@kernel
def _label_tile(features: Floats, first: int, codebook: Codebook, scores: Floats, labels: Labels) -> bool:
    clusters, panels = codebook.centroids.shape[0], codebook.panels
    for panel in range(panels.shape[0]):
        if clusters - panel * LANES <= HALF_LANES:
            for row in range(0, labels.shape[0], ROWS):
                score_half_panel(features, first + row, panels, panel, scores, row)
        else:
            for row in range(0, labels.shape[0], ROWS):
                score_panel(features, first + row, panels, panel, scores, row)
    valid = True
    for row in range(labels.shape[0]):
        labels[row] = best_lane(scores, row)
        valid &= labels[row] >= 0
    return valid
