"""The evaluation page: metrics, precision-recall curves, and the queries that went worst and best."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad.reports import charts
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
        {"verdict": verdict, "small": _small, **charts.FILTERS},
        title=page.title,
        notes=page.notes,
        metrics={},
        page=page,
        chart=_chart(page.curves),
        query_side=QUERY_SIDE,
        hit_side=HIT_SIDE,
        plot=charts.PLOT,
        chart_width=charts.WIDTH,
    )


def _chart(curves: Sequence[Curve]) -> charts.Chart:
    series: list[charts.Series] = []
    for curve in curves:
        colour = sum(not before.dashed for before in series) - curve.dashed
        points = [charts.Point(*point) for point in zip(_recalls(curve), curve.precisions, strict=True)]
        series.append(charts.Series(curve.name, points, max(0, colour), dashed=curve.dashed, marked=False))
    recall, precision = (charts.linear(label, (0.0, 1.0)) for label in ("recall", "precision"))
    return charts.Chart("Precision and recall", recall, precision, series)


def _small(curve: Curve, left: float, top: float, width: float, height: float) -> str:
    """The curve as the points of an SVG polyline in this rectangle."""
    return charts.polyline(zip(left + width * _recalls(curve), top + height * (1 - curve.precisions), strict=True))


def _recalls(curve: Curve) -> npt.NDArray[np.float64]:
    return np.linspace(0, 1, len(curve.precisions))
