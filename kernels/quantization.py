"""Vectors in eight bits, and how much of them that leaves out.

Whatever is said of an error here is an upper bound for every finite input: measured, not estimated, with room for the
rounding of the measuring.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfvlad_kernels.codes import Integers
from tfvlad_kernels.jit import inlined, kernel, reduction
from tfvlad_kernels.microkernel import ROWS, Floats

# Of features: below the smallest span, squares would be no float32; above the largest, neither.
_SMALLEST, _LARGEST = np.float32(2.0**-40), np.float32(2.0**50)
_LEAST_STEP = np.float32(2.0**-60)  # of centroids: the product of two steps is a float32
_UP = 1 + 2.0**-20  # a bound that is rounded to float32 stays one
# In steps, times the root of D: up to ten roundings (2^-24 each) of a float32 score whose parts are products of codes
# below 256, and those of `scaled` below.
_ROUNDING = np.float32(2.0**-12)


@reduction
def encode_centroid(centroids: Floats, k: int, center: Floats, code: npt.NDArray[np.int8], terms: Floats) -> None:
    """Rounds one centroid, moved by the center, to signed bytes: c - m = d is about d' = step * code.

    Args:
      centroids: (K, D).
      k: which.
      center: (D,), m.
      code: (at least D,) int8, written.
      terms: (6, W) float32; column k is written: the step, the sum of d', -m·d' - |d|²/2, the larger of |d| and |d'|,
        |d' - d|, and what the rounding of the third of these can make of a score.
    """
    largest = np.int32(0)  # the bits of a float from 0 up: as integers they keep their order
    for d in range(centroids.shape[1]):
        largest = max(largest, np.float32(abs(centroids[k, d] - center[d])).view(np.int32))
    step = max(np.int32(largest).view(np.float32) / np.float32(127), _LEAST_STEP)
    total, along, exact, coded, lost = 0.0, 0.0, 0.0, 0.0, 0.0
    for d in range(centroids.shape[1]):
        value = np.float64(centroids[k, d]) - np.float64(center[d])
        rounded = min(max(np.rint(value / np.float64(step)), -127.0), 127.0)
        code[d] = np.int8(rounded)
        near = rounded * np.float64(step)
        total += near
        along += near * np.float64(center[d])
        exact += value * value
        coded += near * near
        lost += (near - value) * (near - value)
    terms[0, k] = step
    terms[1, k] = total
    terms[2, k] = -along - exact / 2
    terms[3, k] = np.sqrt(max(exact, coded)) * _UP
    terms[4, k] = np.sqrt(lost) * _UP
    terms[5, k] = abs(terms[2, k]) * 2.0**-21 + 2.0**-120  # and what is too small for a float32


@kernel
def encode_features(
    features: Floats, first: int, count: int, center: Floats, codes: npt.NDArray[np.uint8], terms: Floats
) -> None:
    """Rounds consecutive features to unsigned bytes: x is about x' = step * code + zero.

    Args:
      features: (N, D).
      first: the first feature.
      count: how many.
      center: (D,), m.
      codes: (at least `count`, at least D) uint8, written.
      terms: (at least `count`, 4) float32, written: the step, the zero, |x' - x|, and |x' - m|; the last is NaN for a
        feature that is not finite, spans more than 2^50, or has no float32 distance from m.
    """
    bits = features.view(np.int32)
    for start in range(0, count, ROWS):  # a few at a time, while they are in the cache
        stop = min(start + ROWS, count)
        for row in range(start, stop):
            _choose_step(bits, first + row, terms, row)
        for row in range(start, stop):
            if np.isfinite(terms[row, 0]):
                _round_feature(features, first + row, center, codes, terms, row)
    growth = np.float32(_UP) + np.float32(features.shape[1]) * np.float32(2.0**-23)  # of float32 sums of D squares
    rounding = _ROUNDING * np.sqrt(np.float32(features.shape[1]))
    for row in range(count):
        step = terms[row, 0]
        terms[row, 1] *= step
        terms[row, 2] = step * (np.sqrt(terms[row, 2]) * growth + rounding)
        length = np.sqrt(terms[row, 3]) * growth + terms[row, 2]
        terms[row, 3] = length if np.isfinite(length) else np.nan


@inlined
def _choose_step(bits: Integers, i: int, terms: Floats, row: int) -> None:
    # As integers, floats from 0 up keep their order, and those below 0 come, without a sign, after all of them.
    highest, lowest = np.int32(0), np.uint32(0)
    for d in range(bits.shape[1]):
        highest = max(highest, bits[i, d])
        lowest = max(lowest, np.uint32(bits[i, d]))
    high = np.int32(highest).view(np.float32)
    low = np.uint32(lowest).view(np.float32) if lowest >= np.uint32(2**31) else np.float32(0)
    span = max(high - low, _SMALLEST)
    if span <= _LARGEST:
        terms[row, 0] = span / np.float32(254)  # 254 steps, and one for the rounding of zero
        inverse = np.float32(1) / terms[row, 0]
        terms[row, 1] = np.rint(low * inverse)  # as `low` itself is rounded, so that its code is 0
    else:
        terms[row] = np.nan


@reduction
def _round_feature(
    features: Floats, i: int, center: Floats, codes: npt.NDArray[np.uint8], terms: Floats, row: int
) -> None:
    inverse, zero = np.float32(1) / terms[row, 0], np.int32(terms[row, 1])
    lost, distance = np.float32(0), np.float32(0)
    for d in range(features.shape[1]):
        scaled = features[i, d] * inverse
        rounded = np.rint(scaled)
        codes[row, d] = np.uint8(np.int32(rounded) - zero)
        lost += (scaled - rounded) * (scaled - rounded)
        offset = features[i, d] - center[d]
        distance += offset * offset
    terms[row, 2], terms[row, 3] = lost, distance
