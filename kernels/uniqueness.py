"""How much each local feature of a map resembles another one that is not close to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfvlad_kernels.codes import Integers
from tfvlad_kernels.inputs import Floats, raise_not_finite
from tfvlad_kernels.jit import kernel
from tfvlad_kernels.matching import (
    Panels,
    Rows,
    as_features_of_one_kind,
    as_keys,
    as_panels,
    as_rows,
    has_words,
    multiply,
    read_only,
    similarity_of_key,
)
from tfvlad_kernels.microkernel import LANES, ROWS

_NONE = -(2**31)  # below every key


def most_similar_elsewhere(features: npt.ArrayLike, places: npt.ArrayLike, radius: int) -> Floats:
    """Finds, for each local feature of a map, the similarity of the most similar one beyond its neighbourhood.

    The similarity is the inner product; see `tfvlad_kernels.matching.mutual_nearest`. It is computed without the matrix
    of all similarities, on the calling thread and without the GIL.

    Args:
      features: (N, D) int8, float32, float16 or float64.
      places: (N, 2) integers from 0, row and column of each in the map; no two features have the same.
      radius: features no more than so many rows and columns away are not looked at, and neither is the feature itself.

    Returns:
      (N,) float32; -inf where there is no feature beyond the neighbourhood.

    Raises:
      TypeError, ValueError: another dtype or shape, two features in one place, or values that are not finite.

    Example:
      >>> most_similar_elsewhere([[1, 0], [0.5, 0.5], [0, 1]], [[0, 0], [0, 1], [0, 2]], radius=1)
      array([  0., -inf,   0.], dtype=float32)
    """
    rows, _ = as_features_of_one_kind(features, features)
    cells = np.asarray(places)
    if cells.shape != (len(rows), 2) or not np.issubdtype(cells.dtype, np.integer) or (cells < 0).any() or radius < 0:
        raise ValueError(f"places must be ({len(rows)}, 2) integers from 0 and radius 0 or more, got {cells.shape}")
    height, width = (cells.max(axis=0) + 1).tolist() if len(cells) else (0, 0)
    positions = np.full((height + 2 * radius, width + 2 * radius), -1, np.int32)  # of features, with a margin around
    positions[tuple((cells + radius).T)] = np.arange(len(cells))
    if np.count_nonzero(positions >= 0) < len(cells):
        raise ValueError("places must be different for all features")
    keys = np.empty(len(rows), np.int32)
    _find_largest(as_panels(rows), as_rows(rows), cells.astype(np.int32), read_only(positions), radius, keys)
    words = has_words(rows)
    similarities = np.array([similarity_of_key(key, words) for key in keys], np.float32)
    similarities[keys == _NONE] = -np.inf
    if not np.isfinite(similarities[keys != _NONE]).all():
        raise_not_finite("features", rows)
    return similarities


@kernel
def _find_largest(
    panels: Panels, rows: Rows, cells: Integers, positions: Integers, radius: int, keys: Integers
) -> None:
    """Writes the key of each feature's largest score, see `as_keys`, beyond its neighbourhood."""
    count = rows.shape[0]
    scores = np.zeros((ROWS, panels.shape[0] * LANES), panels.dtype)
    order = np.empty(ROWS, np.intp)
    for first in range(0, count, ROWS):
        for r in range(ROWS):
            order[r] = min(first + r, count - 1)
        for panel in range(panels.shape[0]):
            multiply(rows, order, panels, panel, scores, first + ROWS)
        found = as_keys(scores)
        for r in range(min(ROWS, count - first)):
            row, column = cells[first + r, 0], cells[first + r, 1]
            for y in range(row, row + 2 * radius + 1):
                for x in range(column, column + 2 * radius + 1):
                    if positions[y, x] >= 0:
                        found[r, positions[y, x]] = np.int32(-(2**31))
            best = np.int32(-(2**31))
            for other in range(count):
                best = max(best, found[r, other])
            keys[first + r] = best
