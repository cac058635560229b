"""The evaluation page: metrics, curves, and the queries that went worst and best."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tfvlad.evaluation.summary import Curve, EvaluationPage
from tfvlad.reports import charts
from tfvlad.reports._page import write_page
from tfvlad.reports.results_page import HIT_SIDE, QUERY_SIDE


def write_evaluation_page(path: str | os.PathLike[str], page: EvaluationPage) -> None:
    """Writes the page about an evaluation.

    Like the results page it is one file that runs no script and loads nothing.

    Args:
      path: the HTML file; it appears, or replaces an earlier one, only when it is complete.
      page: the content, as `tfvlad.evaluation.summary.evaluation_page` returns it.

    Raises:
      OSError: the file cannot be written.
    """
    share = (0.0, 1.0)
    ranks = charts.logarithmic("k", [rank for curve in page.by_rank for rank in curve.x])
    write_page(
        path,
        "evaluation_page.html.j2",
        {"small": _small, **charts.FILTERS},
        title=page.title,
        notes=page.notes,
        metrics={},
        page=page,
        charts=[
            _chart(title, x, y, curves)
            for title, x, y, curves in (
                ("Queries answered among the first\N{NO-BREAK SPACE}k", ranks, "recall@k", page.by_rank),
                ("Precision and recall", charts.linear("recall", share), "precision", page.by_recall),
            )
            if curves
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
    """Writes a curve over [0, 1] as the points of an SVG polyline in this rectangle."""
    return charts.polyline(zip(left + width * curve.x, top + height * (1 - curve.y), strict=True))
