"""A codebook as the kernels read it: in panels of floats and, where screening pays, of bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad_kernels.codes import DEEPEST, HAS_BYTE_PRODUCTS, Integers
from tfvlad_kernels.inputs import Floats, as_centroids, raise_not_finite
from tfvlad_kernels.jit import kernel
from tfvlad_kernels.microkernel import LANES
from tfvlad_kernels.normalization import squared_norm
from tfvlad_kernels.quantization import encode_centroid

_LEAST_VALUES = 2**13  # of a codebook: the float32 scores of a smaller one, or of one panel, are there sooner
_BLOCK = 64  # rows of a panel that are written while they are in the cache


class Codebook(NamedTuple):
    """Centroids, and what the scores need of them. Centroid p * LANES + l is lane l of panel p.

    Attributes:
      centroids: (K, D) float32.
      panels: (P, D + 1, LANES) float32, the centroids, and below them -|c|²/2. Lanes without a centroid have -Inf
        there: they never win.
      center: (D,) float32, the mean of the centroids; zeros where screening does not pay.
      codes: (Q, G + 1, LANES) int32, the centroids in bytes as `multiply_panel` takes them; G is D / 4, rounded up. Q
        is P, or 0 where screening does not pay.
      terms: (6, Q * LANES) float32, from `encode_centroid`; -Inf for the scores of lanes without a centroid.
    """

    centroids: Floats
    panels: Floats
    center: Floats
    codes: Integers
    terms: Floats


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
    screened = HAS_BYTE_PRODUCTS and clusters > LANES and clusters * depth >= _LEAST_VALUES and depth <= DEEPEST
    codebook = Codebook(rows, panels, *new_codes(depth, len(panels) if screened else 0))
    if screened:
        fill_codes(rows, codebook.center, codebook.codes, codebook.terms)
    return codebook


def new_codes(depth: int, panels: int) -> tuple[Floats, Integers, Floats]:
    """Makes the last three fields of a codebook, without a centroid yet."""
    groups = -(-depth // 4) if panels else 0
    terms = np.zeros((6, panels * LANES), np.float32)
    terms[2] = -np.inf
    return np.zeros(depth, np.float32), np.zeros((panels, groups + 1, LANES), np.int32), terms


@kernel
def _fill_panels(centroids: Floats, panels: Floats) -> bool:
    clusters, depth = centroids.shape
    panels[-1] = 0
    panels[-1, depth] = -np.inf
    finite = True
    for panel in range(panels.shape[0]):
        first = panel * LANES
        lanes = min(LANES, clusters - first)
        for start in range(0, depth, _BLOCK):
            for lane in range(lanes):
                for d in range(start, min(start + _BLOCK, depth)):
                    panels[panel, d, lane] = centroids[first + lane, d]
        for lane in range(lanes):
            panels[panel, depth, lane] = -squared_norm(centroids[first + lane]) / 2
            finite &= np.isfinite(panels[panel, depth, lane])
    return finite


@kernel
def fill_codes(centroids: Floats, center: Floats, codes: Integers, terms: Floats) -> None:
    """Puts (K, D) centroids into the arrays that `new_codes` made."""
    clusters, depth = centroids.shape
    for k in range(clusters):
        for d in range(depth):
            center[d] += centroids[k, d] / np.float32(clusters)
    words = np.zeros(codes.shape[1] - 1, np.int32)
    for k in range(clusters):
        encode_centroid(centroids, k, center, words.view(np.int8), terms)
        for group in range(words.shape[0]):
            codes[k // LANES, group, k % LANES] = words[group]
