"""Why two pictures match, as data: the cells that agree, where one picture lies in the other, what carries the cosine.

`tfvlad.matching.drawing` makes a picture of it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad.matching.verification import Candidate, Match, Query, Verifier

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]  # (x1, y1, x2, y2) as fractions of a picture's width and height

WHOLE_PICTURE: Box = (0.0, 0.0, 1.0, 1.0)

_HORIZON = 1e-3  # of the depth at a picture's nearest corner; what is farther away is cut off


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """What shows why a query matches a found image.

    Positions are x and y as fractions (0 to 1) of the whole upright picture's width and height.

    Attributes:
      match: the match, with its cells.
      query_outline: (P, 2) float64, the corners of the query, or of the box in it that was asked for, in the found
        picture, in order; they may lie outside of it. None where nothing agrees.
      found_outline: likewise, the corners of the found picture in the query.
    """

    match: Match
    query_outline: Doubles | None
    found_outline: Doubles | None

    @property
    def cells(self) -> Floats:
        """(M, 2, 2) float32, positions in the query and in the found picture of what agrees."""
        return np.zeros((0, 2, 2), np.float32) if self.match.cells is None else self.match.cells


def explain(verifier: Verifier, query: Query, found: Candidate, box: Box = WHOLE_PICTURE) -> Explanation:
    """Verifies a query against one image, and keeps what there is to see.

    Args:
      verifier: the same as for the search.
      query: what was searched for.
      found: the image.
      box: the part of the query that was asked for.
    """
    (match,) = verifier.verify(query, [found], cells=True)
    if match.transform is None:
        return Explanation(match, None, None)
    back = np.linalg.inv(match.transform).astype(np.float64)
    return Explanation(match, outline(match.transform, box), outline(back))


def outline(transform: Doubles, box: Box = WHOLE_PICTURE) -> Doubles:
    """Where a transform takes a box.

    Args:
      transform: (3, 3), see `tfvlad.matching.verification.Match.transform`.
      box: in the picture that the transform starts from.

    Returns:
      (P, 2) float64: its upper left, upper right, lower right and lower left corner. Where a homography takes a part of
      the box beyond the horizon, that is cut off; P is then 3 to 5.
    """
    left, top, right, bottom = box
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    moved = np.column_stack([corners, np.ones(4)]) @ transform.T
    # What is seen lies on one side of the horizon: that of the box's middle.
    moved *= np.sign(moved[:, 2].sum()) or 1.0
    least = _HORIZON * moved[:, 2].max()
    seen = []
    for start, end in zip(moved, np.roll(moved, -1, axis=0), strict=True):
        if start[2] >= least:
            seen.append(start)
        if (start[2] >= least) != (end[2] >= least):
            seen.append(start + (end - start) * (least - start[2]) / (end[2] - start[2]))
    points: Doubles = np.array(seen)
    return points[:, :2] / points[:, 2:]


def box_around(points: Doubles) -> Box | None:
    """The smallest upright box in a picture that holds an outline; None where that is outside of the picture."""
    if not len(points):
        return None
    left, top = (max(float(side), 0.0) for side in points.min(axis=0))
    right, bottom = (min(float(side), 1.0) for side in points.max(axis=0))
    return (left, top, right, bottom) if left < right and top < bottom else None


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
