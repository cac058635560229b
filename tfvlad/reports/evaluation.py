"""The evaluation page: metrics, curves, and the queries that went worst and best."""

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
    """A curve of a chart.

    Attributes:
      name: for the legend.
      x: (L,) along the lower axis: recalls in [0, 1], or ranks from 1.
      y: (L,) in [0, 1].
      dashed: drawn so, in the colour of the curve before it.
    """

    name: str
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    dashed: bool = False


class JudgedQuery(NamedTuple):
    """A query with what it came to.

    Attributes:
      row: the query and its first hits.
      value: such as ``AP 0.123``.
      about: where its right answers are, in words.
      curve: its own precision by recall; None where that is one number.
    """

    row: ResultRow
    value: str
    about: str
    curve: Curve | None


class EvaluationPage(NamedTuple):
    """What the page shows.

    Attributes:
      title: heading.
      notes: paragraphs under it.
      head: of the table of metrics.
      metrics: its rows.
      by_rank: for a chart of recall at k by k.
      by_recall: for a chart of precision by recall.
      worst: queries, the worst first.
      best: queries, the best first.
    """

    title: str
    notes: Sequence[str]
    head: Sequence[str]
    metrics: Sequence[Sequence[str]]
    by_rank: Sequence[Curve]
    by_recall: Sequence[Curve]
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
    share = (0.0, 1.0)
    ranks = charts.logarithmic("k", [rank for curve in page.by_rank for rank in curve.x])
    write_page(
        path,
        "evaluation.html.j2",
        {"verdict": verdict, "small": _small, **charts.FILTERS},
        title=page.title,
        notes=page.notes,
        metrics={},
        page=page,
        charts=[
            _chart("Queries answered among the first\N{NO-BREAK SPACE}k", ranks, "recall@k", page.by_rank),
            _chart("Precision and recall", charts.linear("recall", share), "precision", page.by_recall),
        ],
        query_side=QUERY_SIDE,
        hit_side=HIT_SIDE,
        plot=charts.PLOT,
        chart_width=charts.WIDTH,
    )


def _chart(title: str, x: charts.Axis, y_label: str, curves: Sequence[Curve]) -> charts.Chart:
    series: list[charts.Series] = []
    for curve in curves:
        colour = sum(not before.dashed for before in series) - curve.dashed
        points = [charts.Point(*point) for point in zip(curve.x.tolist(), curve.y.tolist(), strict=True)]
        series.append(charts.Series(curve.name, points, max(0, colour), dashed=curve.dashed, marked=False))
    return charts.Chart(title, x, charts.linear(y_label, (0.0, 1.0)), series)


def _small(curve: Curve, left: float, top: float, width: float, height: float) -> str:
    """A curve over [0, 1] as the points of an SVG polyline in this rectangle."""
    return charts.polyline(zip(left + width * curve.x, top + height * (1 - curve.y), strict=True))
