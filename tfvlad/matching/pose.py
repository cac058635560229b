"""How one picture lies in another, in numbers that can be said in words: how far it is turned, and how large it is."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


class Pose(NamedTuple):
    """How a query lies in a found picture.

    Attributes:
      turn: degrees by which it is turned clockwise, above -180 and at most 180.
      scale: how many times as large it is, where both pictures are drawn with longest sides of equal length.
      stretch: how many times as long it is in one direction as across, where the query is as long as across; 1 where it
        is seen straight from its front.
    """

    turn: float
    scale: float
    stretch: float


def pose(transform: Doubles, query_size: tuple[float, float], found_size: tuple[float, float]) -> Pose:
    """Says how a transform turns, scales and stretches the middle of the query.

    Args:
      transform: (3, 3), see `tfvlad.matching.verification.Match.transform`.
      query_size: width and height of the query, in any unit.
      found_size: width and height of the found picture, in any unit.

    Returns:
      The turn and the scale of the similarity that is nearest to the transform there, and how far it stretches.

    Example:
      >>> pose(np.diag([0.5, 0.5, 1.0]), (4, 3), (8, 6))
      Pose(turn=0.0, scale=0.5, stretch=1.0)
    """
    u, v, w = transform @ (0.5, 0.5, 1.0)
    derivative = (transform[:2, :2] - np.outer((u / w, v / w), transform[2, :2])) / w
    from_query, from_found = (np.array(size) / max(size) for size in (query_size, found_size))
    derivative = derivative * from_found[:, None] / from_query
    turn = math.degrees(math.atan2(derivative[1, 0] - derivative[0, 1], derivative[0, 0] + derivative[1, 1]))
    longer, shorter = np.linalg.svd(derivative, compute_uv=False).tolist()
    return Pose(turn, math.sqrt(longer * shorter), longer / shorter if shorter else math.inf)
