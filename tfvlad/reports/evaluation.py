"""The evaluation page: metrics, precision-recall curves, and the queries that went worst and best."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad.reports.page import write_page
from tfvlad.reports.results import HIT_SIDE, QUERY_SIDE, ResultRow, verdict


class Curve(NamedTuple):
    """A precision-recall curve.

    Attributes:
      name: for the legend.
      precisions: (L,) in [0, 1], at L recalls evenly from 0 to 1.
      dashed: drawn so, in the colour of the curve before it.
    """

    name: str
    precisions: npt.NDArray[np.float64]
    dashed: bool = False


class JudgedQuery(NamedTuple):
    """A query with what it came to.

    Attributes:
      row: the query and its first hits.
      value: such as ``AP 0.123``.
      curve: its own precision-recall curve.
    """

    row: ResultRow
    value: str
    curve: Curve


class EvaluationPage(NamedTuple):
    """What the page shows.

    Attributes:
      title: heading.
      notes: paragraphs under it.
      head: of the table of metrics.
      metrics: its rows.
      curves: for one chart.
      worst: queries, the worst first.
      best: queries, the best first.
    """

    title: str
    notes: Sequence[str]
    head: Sequence[str]
    metrics: Sequence[Sequence[str]]
    curves: Sequence[Curve]
    worst: Sequence[JudgedQuery]
    best: Sequence[JudgedQuery]


def write_evaluation(path: str | os.PathLike[str], page: EvaluationPage) -> None:
    """Writes the page, whole or not at all. Like the results page it needs nothing beside itself and runs no script.

    Args:
      path: the HTML file.
      page: what it shows.

    Raises:
      OSError: the file cannot be written.
    """
    write_page(
        path,
        "evaluation.html.j2",
        {"verdict": verdict, "points": _points, "colours": _colours},
        title=page.title,
        notes=page.notes,
        metrics={},
        page=page,
        query_side=QUERY_SIDE,
        hit_side=HIT_SIDE,
    )


def _points(curve: Curve, left: float, top: float, width: float, height: float) -> str:
    """The curve as the points of an SVG polyline in this rectangle."""
    across = left + np.linspace(0, width, len(curve.precisions))
    down = top + height * (1 - np.asarray(curve.precisions))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))


def _colours(curves: Sequence[Curve]) -> list[int]:
    """Each curve's colour, by number from 0."""
    return [max(0, sum(not curve.dashed for curve in curves[: n + 1]) - 1) for n in range(len(curves))]
