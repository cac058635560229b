"""Mutual nearest neighbours: pairs of local features of two images that are each other's most similar.

The similarity is the inner product. A few features of one image at a time meet all of the other's, which lie in panels
as centroids do (`microkernel`); what is kept of their scores are the maxima of rows and of columns, so that the whole
matrix of scores is never there. Bytes are multiplied as bytes where the processor can (`codes`), otherwise as floats,
which are exact for them: their results are the same bits on every processor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from tfvlad_kernels.codes import HAS_BYTE_PRODUCTS, Integers, multiply_panel
from tfvlad_kernels.inputs import Floats, as_features, raise_not_finite
from tfvlad_kernels.jit import inlined, kernel
from tfvlad_kernels.microkernel import LANES, ROWS, score_panel

Bounds = npt.NDArray[np.intp]
Rows = npt.NDArray[Any]  # (N, G) int32, each four unsigned bytes, or (N, D) float32
Panels = npt.NDArray[Any]  # (P, G + 1, LANES) int32, each four signed bytes, or (P, D + 1, LANES) float32

MOST_BYTES = 2**24 // 128**2  # columns of int8 features: up to here float32 sums of their products are exact
_UNSIGNED = np.uint8(128)  # added to a signed byte makes it an unsigned one


class Matches(NamedTuple):
    """Pairs of features, in the order of the first image's.

    Attributes:
      pairs: (M, 2) intp, the positions of each pair's features in the first and in the second image.
      similarities: (M,) float32, their inner products.
    """

    pairs: npt.NDArray[np.intp]
    similarities: Floats


def mutual_nearest(features: npt.ArrayLike, others: npt.ArrayLike) -> Matches:
    """Finds the pairs of features of two images that are each other's most similar, by the inner product.

    A feature's most similar one is the lowest in position of those that tie, so that a feature that is there many
    times is paired at most once.

    Args:
      features: (N, D) int8, all quantised with one step, or float32, float16 or float64 (computed in float32).
      others: (M, D), likewise; int8 if and only if the features are.

    Returns:
      The pairs. The similarity of int8 features is the inner product of the bytes: times the square of their step, it
      is that of the vectors.

    Raises:
      TypeError: another dtype, or int8 on one side only.
      ValueError: another shape, int8 with more than 1,024 columns, or NaN, Inf or magnitudes that overflow float32.

    Example:
      >>> mutual_nearest(np.eye(2), [[0.0, 0.9], [0.8, 0.1], [0.7, 0.0]]).pairs
      array([[0, 1],
             [1, 0]])
    """
    first, second = as_features_of_one_kind(features, others)
    keys = np.empty(len(first), np.int32)
    nearest = np.empty(len(first), np.int32)
    find_mutual(as_panels(first), as_rows(second), keys, nearest)
    pairs = np.stack([np.flatnonzero(nearest >= 0), nearest[nearest >= 0]], axis=1).astype(np.intp)
    words = has_words(first)
    similarities = np.array([similarity_of_key(key, words) for key in keys[nearest >= 0]], np.float32)
    if not np.isfinite(similarities).all():
        raise_not_finite("features", np.concatenate([first, second]))
    return Matches(pairs, similarities)


def as_features_of_one_kind(features: npt.ArrayLike, others: npt.ArrayLike) -> tuple[Rows, Rows]:
    """Returns (N, D) and (M, D) arrays in C order, both int8 or both float32 and finite."""
    first, second = np.asarray(features), np.asarray(others)
    if np.int8 not in (first.dtype, second.dtype):
        if first.ndim != 2 or first.shape[1] == 0:
            raise ValueError(f"features must have shape (N, D), D at least 1, got shape {first.shape}")
        floats = [as_features(array, first.shape[1]) for array in (first, second)]
        for array in floats:
            if not np.isfinite(array).all():
                raise_not_finite("features", array)
        return floats[0], floats[1]
    if first.dtype != second.dtype:
        raise TypeError(f"features must be int8 on both sides or on none, got {first.dtype} and {second.dtype}")
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"features must have shapes (N, D) and (M, D), got shapes {first.shape} and {second.shape}")
    if not 0 < first.shape[1] <= MOST_BYTES:
        raise ValueError(f"int8 features must have from 1 to {MOST_BYTES} columns, got shape {first.shape}")
    return np.ascontiguousarray(first), np.ascontiguousarray(second)


def has_words(features: Rows) -> bool:
    """Whether features are multiplied as bytes, four to a word, rather than as floats."""
    return HAS_BYTE_PRODUCTS and features.dtype == np.int8


def as_rows(features: Rows) -> Rows:
    """Lays (N, D) features out as the rows of a product: (N, G) int32 or (N, D) float32; a view where that is it."""
    if not has_words(features):
        return read_only(features.astype(np.float32, copy=False))
    return read_only(_pad(features.view(np.uint8) ^ _UNSIGNED).view(np.int32))


def as_panels(features: Rows) -> Panels:
    """Lays (N, D) features out as the panels of a product, LANES of them in each: see `Panels`."""
    if has_words(features):
        columns = _pad(features).view(np.int32)
        start = -np.int32(_UNSIGNED) * features.sum(axis=1, dtype=np.int32)  # takes back what `as_rows` adds
    else:
        columns = features.astype(np.float32, copy=False)
        start = np.zeros(len(features), np.float32)
    length, depth = columns.shape
    lanes = np.zeros((-(-length // LANES) * LANES, depth + 1), columns.dtype)
    lanes[:length, :depth], lanes[:length, depth] = columns, start
    panels = lanes.reshape(-1, LANES, depth + 1).transpose(0, 2, 1)  # (P, LANES, G + 1) -> (P, G + 1, LANES)
    return read_only(np.ascontiguousarray(panels))


def _pad(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Fills rows of bytes up to whole words: with zeros on the side of the panels, so that it does not matter here."""
    return np.ascontiguousarray(np.pad(values, ((0, 0), (0, -values.shape[1] % 4))))


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns a view that cannot be written to: Numba compiles anew for those, so let all that is only read be one."""
    view = array.view()
    view.flags.writeable = False
    return view


@kernel
def find_mutual(panels: Panels, rows: Rows, keys: Integers, nearest: Integers) -> None:
    """Finds mutual nearest neighbours.

    Args:
      panels: the first image's features, from `as_panels`.
      rows: the second image's, from `as_rows`.
      keys: (N,) int32, one for each of the first image's features; written: its largest score, as `as_keys`
        makes it.
      nearest: (N,) int32, likewise; written: the position of the feature that it makes a pair with, or -1.
    """
    columns, count = keys.shape[0], rows.shape[0]
    scores = np.zeros((ROWS, panels.shape[0] * LANES), panels.dtype)
    order = np.empty(ROWS, np.intp)
    favourites = np.empty(count, np.int32)  # of each row, the column with the largest score
    keys[:] = -(2**31)
    nearest[:] = -1
    if columns == 0:
        return
    for first in range(0, count, ROWS):
        for r in range(ROWS):
            order[r] = min(first + r, count - 1)
        for panel in range(panels.shape[0]):
            multiply(rows, order, panels, panel, scores, first + ROWS)
        found = as_keys(scores)
        for r in range(min(ROWS, count - first)):
            favourites[first + r] = _update_maxima(found, r, first + r, keys, nearest)
    for column in range(columns):
        if nearest[column] >= 0 and favourites[nearest[column]] != column:
            nearest[column] = -1


@inlined
def _update_maxima(found: Integers, r: int, position: int, keys: Integers, nearest: Integers) -> int:
    """Puts a row of keys into the columns' maxima; returns the first column with the row's own maximum."""
    best = np.int32(-(2**31))
    for column in range(keys.shape[0]):
        key = found[r, column]
        best = max(best, key)
        better = key > keys[column]
        nearest[column] = np.int32(position) if better else nearest[column]
        keys[column] = key if better else keys[column]
    favourite = np.int32(2**31 - 1)
    for column in range(keys.shape[0]):
        favourite = min(favourite, np.int32(column) if found[r, column] == best else np.int32(2**31 - 1))
    return int(favourite)


def multiply(rows: Rows, order: Bounds, panels: Panels, panel: int, scores: Rows, ahead: int) -> None:
    """Multiplies ROWS rows by a panel, as `multiply_panel` or `score_panel` do."""
    if panels.dtype == np.int32:
        multiply_panel(rows, order, 0, panels, panel, scores, rows, ahead)
    else:
        score_panel(rows, order, 0, panels, panel, scores, rows, ahead)


def _typed_multiply(rows: Any, order: Any, panels: Any, panel: Any, scores: Any, ahead: Any) -> Any:
    if panels.dtype == types.int32:
        return lambda rows, order, panels, panel, scores, ahead: multiply_panel(
            rows, order, 0, panels, panel, scores, rows, ahead
        )
    return lambda rows, order, panels, panel, scores, ahead: score_panel(
        rows, order, 0, panels, panel, scores, rows, ahead
    )


overload(multiply, strict=False)(_typed_multiply)


def as_keys(scores: Rows) -> Integers:
    """Turns scores, in place, into int32 of the same order: int32 themselves, or the bits of floats."""
    if scores.dtype != np.int32:
        order_floats(scores, scores.view(np.int32))
    return scores.view(np.int32)


def _typed_as_keys(scores: Any) -> Any:
    if scores.dtype == types.int32:
        return lambda scores: scores

    def ordered(scores: Floats) -> Integers:
        order_floats(scores, scores.view(np.int32))
        return scores.view(np.int32)

    return ordered


overload(as_keys, strict=False)(_typed_as_keys)


@kernel
def order_floats(floats: Floats, keys: Integers) -> None:
    """Writes int32 that are in the order of floats; both are (R, W) and may be the same memory."""
    for r in range(floats.shape[0]):
        for column in range(floats.shape[1]):
            bits = np.float32(floats[r, column] + np.float32(0)).view(np.int32)  # -0 becomes 0: they tie
            keys[r, column] = bits ^ ((bits >> np.int32(31)) & np.int32(2**31 - 1))


@kernel
def similarity_of_key(key: np.int32, words: bool) -> np.float32:
    """Returns the similarity that `as_keys` made a key of."""
    if words:
        return np.float32(key)
    bits = np.int32(key ^ ((key >> np.int32(31)) & np.int32(2**31 - 1)))
    return np.float32(bits.view(np.float32))
