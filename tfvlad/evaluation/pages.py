"""What of a measurement the evaluation page shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad.evaluation.curves import LEVELS, interpolated_precision, recall_by_rank
from tfvlad.evaluation.datasets import Judgement, Truth
from tfvlad.evaluation.figures import as_columns
from tfvlad.evaluation.measuring import Measurement, Ranking
from tfvlad.evaluation.metrics import FloatArray
from tfvlad.evaluation.results import ResultRow

_SHOWN = 10  # queries of either end
_RECALLS = np.linspace(0, 1, LEVELS)


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


def evaluation_page(measured: Measurement) -> EvaluationPage:
    """Tables, curves of every protocol, and the ends of the list of queries by the first protocol's measure."""
    dataset, (protocol, judged) = measured.dataset, next(iter(measured.exact.items()))
    counted = np.flatnonzero(~np.isnan(judged.values))
    # Of equal values, the lower average precision is the worse one.
    order = counted[np.lexsort((judged.evaluation.aps[counted], judged.values[counted]))].tolist()
    half = min(_SHOWN, len(order) // 2) or len(order)
    images = len(measured.exact_rankings[0])
    parts = ", each a box in its image" if any(query.box for query in dataset.queries) else ""
    notes = [
        f"{len(counted)} queries{parts}; rankings of {images} images. Right answers have a green frame, a dashed one "
        "where they come later than the hits that are shown.",
    ]
    if all(len(truth["ok"]) <= 1 for truths in dataset.protocols.values() for truth in truths):
        notes.append("A query with one right answer has one precision, at every recall: one over that answer's rank.")
    else:
        notes.append("Precision is interpolated, and the mean over queries.")
    if len(measured.exact) > 1:
        notes.append(f"Queries below are ordered, and their hits judged, by the protocol {protocol}.")
    head, rows = as_columns(measured)
    return EvaluationPage(
        title=f"Evaluation on {dataset.name}",
        notes=notes,
        head=head,
        metrics=rows,
        by_rank=_curves(measured, lambda judged, *_: recall_by_rank(judged.evaluation.first_ranks, images)),
        by_recall=_curves(measured, _mean_precision),
        worst=[_judged(measured, judged, place) for place in order[:half]],
        best=[_judged(measured, judged, place) for place in order[half:][::-1][:_SHOWN]],
    )


def _judged(measured: Measurement, judged: Judgement, place: int) -> JudgedQuery:
    name = "AP" if judged.measure == "mAP" else judged.measure
    truth, first = measured.dataset.ground_truth[place], judged.evaluation.first_ranks[place]
    right = len(truth["ok"])
    which = "its right answer" if right == 1 else f"the first of {right} right answers"
    curve = None
    if right > 1:
        (precisions,) = interpolated_precision([measured.exact_rankings[place]], [truth])
        curve = Curve("Its precision by recall", _RECALLS, precisions)
    return JudgedQuery(
        measured.rows[place],
        f"{name} {judged.values[place]:.3f}",
        f"{which} is not indexed" if np.isinf(first) else f"{which} at rank {first:.0f}",
        curve,
    )


def _curves(
    measured: Measurement,
    points: Callable[[Judgement, Sequence[Ranking], Sequence[Truth]], tuple[FloatArray, FloatArray]],
) -> list[Curve]:
    """For every protocol the curve of the exact rankings and, dashed, that of those through the graph."""
    curves = []
    for protocol, truths in measured.dataset.protocols.items():
        if not measured.exact[protocol].evaluation.queries:
            continue
        label = f"{protocol}, " if len(measured.exact) > 1 else ""
        curves.append(Curve(f"{label}exact", *points(measured.exact[protocol], measured.exact_rankings, truths)))
        if measured.graph is not None and measured.graph_rankings is not None:
            through_graph = points(measured.graph[protocol], measured.graph_rankings, truths)
            curves.append(Curve(f"{label}through the graph", *through_graph, dashed=True))
    return curves


def _mean_precision(
    _judged: Judgement, rankings: Sequence[Ranking], truths: Sequence[Truth]
) -> tuple[FloatArray, FloatArray]:
    return _RECALLS, np.nanmean(interpolated_precision(rankings, truths), axis=0)
