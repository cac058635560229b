"""Queries beside their hits: what the results page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tfvlad.images import Box


class ResultHit(NamedTuple):
    """One answer.

    Attributes:
      path: the image file.
      score: cosine similarity.
      right: whether it is a right answer; None where that is not known.
    """

    path: str
    score: float
    right: bool | None = None


class ResultRow(NamedTuple):
    """One query and its answers.

    Attributes:
      query: the query's image file.
      hits: best first.
      box: (x1, y1, x2, y2) in pixels, where only this part of the query was searched for.
      missed: the first right answer and its rank, where that is beyond `hits`.
    """

    query: str
    hits: Sequence[ResultHit]
    box: Box | None = None
    missed: tuple[ResultHit, int] | None = None
