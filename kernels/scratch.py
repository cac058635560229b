"""Where the assignment keeps what it works out on the way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfvlad_kernels.codebook import Codebook
from tfvlad_kernels.codes import Integers
from tfvlad_kernels.inputs import Floats
from tfvlad_kernels.jit import kernel
from tfvlad_kernels.microkernel import LANES, ROWS, TILE, Order

_MOST_SCORES = 2**18  # 1 MiB: codebooks so large that a tile would have more get smaller tiles
_MOST_CANDIDATES = 1 / 8  # of the centroids: beyond that, the product with all of them is the quicker way


class Scratch(NamedTuple):
    """What `label_tile` writes to.

    Attributes:
      scores: (T, P * LANES) float32, for T features at a time.
      order: (T,) intp, positions of the features that are to be scored.
      slots: (T,) intp, 0, 1, 2, ...
      codes: (T, G) int32, each four unsigned bytes of a feature's code.
      terms: (T, 4) float32, from `encode_features`.
      highest: (P * LANES,) float32, what the scores of a feature are at most.
      candidates: (C + 1,) int32, positions of centroids; there is no choosing among more than C.
    """

    scores: Floats
    order: Order
    slots: Order
    codes: Integers
    terms: Floats
    highest: Floats
    candidates: Integers


@kernel
def new_scratch(codebook: Codebook, count: int) -> Scratch:
    """Makes scratch space for `label_tile`, for as many features at a time as split `count` evenly.

    Evenly, because a small last tile would have to read all of the panels, too.
    """
    width = codebook.panels.shape[0] * LANES
    tiles = -(-count // max(1, min(TILE, _MOST_SCORES // width)))
    rows = -(-count // max(1, tiles))
    rows = max(ROWS, -(-rows // ROWS) * ROWS)
    scores = np.empty((rows, width), np.float32)
    slots = np.empty(rows, np.intp)
    for row in range(rows):
        slots[row] = row
        for lane in range(width):
            scores[row, lane] = -np.inf  # and stays it in lanes that are never written
    most = max(2, int(codebook.centroids.shape[0] * _MOST_CANDIDATES))
    return Scratch(
        scores,
        np.empty(rows, np.intp),
        slots,
        np.empty((rows, codebook.codes.shape[1] - 1), np.int32),
        np.empty((rows, 4), np.float32),
        np.empty(codebook.terms.shape[1], np.float32),
        np.empty(most + 1, np.int32),
    )
