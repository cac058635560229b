"""From an encoder's local features to those that an index keeps and compares."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from tfvlad.config import LOCAL_DIMENSIONS
from tfvlad.images.views import WHOLE
from tfvlad.matching.cells import describe_cells
from tfvlad.matching.compression import Projection
from tfvlad.matching.local_features import LocalFeatures

UPRIGHT = WHOLE.to_picture((1, 1))  # of the whole picture as it stands


def compact(
    features: NDArray[np.float32], size: tuple[int, int], to_picture: NDArray[np.float64], limit: int
) -> LocalFeatures:
    """Makes a picture's compact local features.

    The projection is the same for every encoder with so many channels. It is not fitted to anything, so that an index
    needs no file for it.

    Args:
      features: (h, w, C) float32, what one forward pass of the encoder gives.
      size: (width, height) of the whole upright picture in pixels.
      to_picture: (2, 3), see `tfvlad.encoding.views.PassFeatures`.
      limit: cells that are kept, at most.
    """
    with _blas().limit(limits=1, user_api="blas"):  # its threads wait for each other, the longer the busier the network
        return describe_cells(features, _projection(features.shape[-1]), size, to_picture, limit)


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@functools.lru_cache(maxsize=8)
def _projection(channels: int) -> Projection:
    return Projection.seeded(channels, min(LOCAL_DIMENSIONS, channels))
