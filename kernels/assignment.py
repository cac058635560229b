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
    panels = np.empty((-(-clusters // LANES), depth + 1, LANES), np.float32)
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
    labels = label_features(rows, codebook)
    if len(labels) and labels.min() < 0:
        raise_not_finite("features", features)
    return labels


def label_features(features: Floats, codebook: Codebook) -> Labels:
    """Finds the nearest centroids of (N, D) features in parallel: (N,) int32, with -1 as in `label_tile`."""
    labels = np.empty(len(features), np.int32)
    _label_tiles(-(-len(features) // TILE), features, codebook, labels)
    return labels


@kernel
def _fill_panels(centroids: Floats, panels: Floats) -> bool:
    clusters, depth = centroids.shape
    panels[-1] = 0
    panels[-1, depth] = -np.inf
    finite = True
    for panel in range(panels.shape[0]):
        first = panel * LANES
        lanes = min(LANES, clusters - first)
        for d in range(depth):
            for lane in range(lanes):
                panels[panel, d, lane] = centroids[first + lane, d]
        for lane in range(lanes):
            panels[panel, depth, lane] = -squared_norm(centroids[first + lane]) / 2
            finite &= np.isfinite(panels[panel, depth, lane])
    return finite


@parallel_kernel
def _label_tiles(
    workers: int, counter: Counter, tiles: int, features: Floats, codebook: Codebook, labels: Labels
) -> None:
    for _ in numba.prange(workers):
        scores = new_scores(codebook, TILE)
        tile = take(counter)
        while tile < tiles:
            stop = min((tile + 1) * TILE, labels.shape[0])
            for first in range(tile * TILE, stop, scores.shape[0]):
                label_tile(features, first, codebook, scores, labels[first : min(first + scores.shape[0], stop)])
            tile = take(counter)


@kernel
def new_scores(codebook: Codebook, count: int) -> Floats:
    """Makes scratch space for `label_tile`, for as many features at a time as split `count` evenly.

    Evenly, because a small last tile would have to read all of the panels, too.
    """
    width = codebook.panels.shape[0] * LANES
    tiles = -(-count // max(1, min(TILE, _MOST_SCORES // width)))
    rows = -(-count // max(1, tiles))
    rows = max(ROWS, -(-rows // ROWS) * ROWS)
    return np.full((rows, width), np.float32(-np.inf))  # -Inf stays in lanes that are never written


@kernel
def label_tile(features: Floats, first: int, codebook: Codebook, scores: Floats, labels: Labels) -> bool:
    """Finds the nearest centroids of consecutive features.

    Args:
      features: (N, D).
      first: the first feature.
      codebook: the centroids.
      scores: from `new_scores`.
      labels: (M,) int32, one for each feature from `first` on, at most len(scores); written. -1 where a feature is not
        finite, or its best score overflows.

    Returns:
      Whether all labels are valid.
    """
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
