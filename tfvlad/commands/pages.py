"""What of a measurement the evaluation page shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tfvlad.commands.figures import as_columns
from tfvlad.commands.measuring import Measurement, Ranking
from tfvlad.curves import LEVELS, interpolated_precision, recall_by_rank
from tfvlad.datasets import Judgement, Truth
from tfvlad.metrics import FloatArray
from tfvlad.reports.evaluation import Curve, EvaluationPage, JudgedQuery

_SHOWN = 10  # queries of either end
_RECALLS = np.linspace(0, 1, LEVELS)


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
