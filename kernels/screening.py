"""Which centroids can be nearest at all: most are ruled out in eight bits, with a bound that holds for every input.

Features x and centroids c are moved by the centroids' mean m, which changes no distance, to y = x - m and d = c - m;
the nearest centroid has the largest y·d - |d|²/2. Bytes stand for y' and d' close by, whose product is off by

    |y'·d' - y·d| = |(y' - y)·d + y'·(d' - d)| <= |y' - y||d| + |y'||d' - d|.

A centroid whose score falls short of the best by more than both their bounds is not the nearest. Where more than one
is left, their float32 scores decide. Of a network's features most have one left, and few have more than three.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfvlad_kernels.candidates import bound_scores, inner_product, lanes_from, lowest_bit
from tfvlad_kernels.codebook import Codebook
from tfvlad_kernels.codes import Integers, multiply_half_panel, multiply_panel
from tfvlad_kernels.jit import inlined
from tfvlad_kernels.microkernel import HALF_LANES, LANES, ROWS, Floats
from tfvlad_kernels.quantization import encode_features
from tfvlad_kernels.scratch import Scratch


@inlined
def screen_tile(
    features: Floats, first: int, codebook: Codebook, scratch: Scratch, labels: npt.NDArray[np.int32]
) -> int:
    """Finds the nearest centroids of those among consecutive features that have few candidates.

    Args:
      features: (N, D).
      first: the first feature.
      codebook: the centroids, with codes.
      scratch: from `new_scratch`.
      labels: (M,) int32, one for each feature from `first` on, at most len(scratch.scores); written. -1 where the
        feature is left over: it has too many candidates, or is not finite.

    Returns:
      How many features are left over; their positions are the first in `scratch.order`.
    """
    count = labels.shape[0]
    products = scratch.scores.view(np.int32)
    encode_features(features, first, count, codebook.center, scratch.codes.view(np.uint8), scratch.terms)
    for panel in range(codebook.codes.shape[0]):
        if codebook.centroids.shape[0] - panel * LANES <= HALF_LANES:
            for row in range(0, count, ROWS):
                multiply_half_panel(
                    scratch.codes, scratch.slots, row, codebook.codes, panel, products, features, first + count
                )
        else:
            for row in range(0, count, ROWS):
                multiply_panel(
                    scratch.codes, scratch.slots, row, codebook.codes, panel, products, features, first + count
                )
    left = 0
    for row in range(count):
        floor = bound_scores(products, row, codebook.terms, scratch.terms, scratch.highest)
        found = _find_candidates(scratch.highest, floor, scratch.candidates)
        labels[row] = -1
        if found == 1:
            labels[row] = scratch.candidates[0]
        elif 1 < found < scratch.candidates.shape[0]:
            labels[row] = _choose(features, first + row, codebook, scratch.candidates[:found])
        if labels[row] < 0:
            scratch.order[left] = first + row
            left += 1
    return left


@inlined
def _find_candidates(highest: Floats, floor: float, candidates: Integers) -> int:
    """Writes, in ascending order, which scores can reach the floor, until there is no more room; returns how many."""
    found = 0
    for start in range(0, highest.shape[0], LANES):
        lanes = lanes_from(highest, start, floor)
        while lanes != 0 and found < candidates.shape[0]:
            candidates[found] = start + lowest_bit(lanes)
            lanes &= lanes - 1
            found += 1
    return found


@inlined
def _choose(features: Floats, i: int, codebook: Codebook, candidates: Integers) -> int:
    """Returns the first of the candidates with the largest float32 score; -1 where none has one."""
    depth = features.shape[1]
    chosen, best = -1, np.float32(-np.inf)
    for k in candidates:
        start = codebook.panels[k // LANES, depth, k % LANES]  # -|c|²/2
        score = inner_product(features, i, codebook.centroids, k) + start
        if score > best:
            chosen, best = k, score
    return chosen
