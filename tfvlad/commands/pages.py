"""What of a measurement the evaluation page shows."""

from __future__ import annotations

import numpy as np

from tfvlad.commands.figures import as_columns
from tfvlad.commands.measuring import Measurement
from tfvlad.curves import interpolated_precision
from tfvlad.metrics import FloatArray
from tfvlad.reports.evaluation import Curve, EvaluationPage, JudgedQuery

_SHOWN = 10  # queries of either end


def evaluation_page(measured: Measurement) -> EvaluationPage:
    """Tables, mean curves of every protocol, and the ends of the list of queries by the first protocol's measure."""
    dataset, (protocol, judged) = measured.dataset, next(iter(measured.exact.items()))
    own = interpolated_precision(measured.exact_rankings, dataset.ground_truth)
    counted = np.flatnonzero(~np.isnan(judged.values))
    # Of equal values, the lower average precision is the worse one.
    order = counted[np.lexsort((judged.evaluation.aps[counted], judged.values[counted]))]
    shown = min(_SHOWN, len(order) // 2) or len(order)
    name = "AP" if judged.measure == "mAP" else judged.measure
    queries = {
        place: JudgedQuery(
            measured.rows[place],
            f"{name} {judged.values[place]:.3f}; right answers: {len(dataset.ground_truth[place]['ok'])}, "
            f"{_first(judged.evaluation.first_ranks[place])}",
            Curve("Its precision by recall", own[place]),
        )
        for place in (*order[:shown], *order[-shown:])
    }
    images = len(measured.exact_rankings[0])
    parts = ", each a box in its image" if any(query.box for query in dataset.queries) else ""
    notes = [
        f"{len(counted)} queries{parts}; rankings of {images} images.",
        "Curves are means over queries of the interpolated precision. Right answers have a green frame.",
    ]
    if len(measured.exact) > 1:
        notes.append(f"Queries below are ordered, and their hits judged, by the protocol {protocol}.")
    head, rows = as_columns(measured)
    return EvaluationPage(
        title=f"Evaluation on {dataset.name}",
        notes=notes,
        head=head,
        metrics=rows,
        curves=_curves(measured, own),
        worst=[queries[place] for place in order[:shown]],
        best=[queries[place] for place in order[::-1][:shown] if place not in order[:shown]],
    )


def _first(rank: float) -> str:
    return "none of them ranked" if np.isinf(rank) else f"the first at rank {rank:.0f}"


def _curves(measured: Measurement, of_first_protocol: FloatArray) -> list[Curve]:
    curves = []
    for protocol, truths in measured.dataset.protocols.items():
        if not measured.exact[protocol].evaluation.queries:
            continue
        label = f"{protocol}, " if len(measured.exact) > 1 else ""
        is_first = truths is measured.dataset.ground_truth
        exact = of_first_protocol if is_first else interpolated_precision(measured.exact_rankings, truths)
        curves.append(Curve(f"{label}exact", np.nanmean(exact, axis=0)))
        if measured.graph_rankings is not None:
            through_graph = interpolated_precision(measured.graph_rankings, truths)
            curves.append(Curve(f"{label}through the graph", np.nanmean(through_graph, axis=0), dashed=True))
    return curves
