"""What is told of an evaluation: as one JSON document, as a table, and as the content of a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tfvlad.evaluation.datasets import Judgement, Truth
from tfvlad.evaluation.index_evaluation import IndexEvaluation, Ranking
from tfvlad.evaluation.metrics import RECALL_LEVELS, Evaluation, FloatArray, interpolated_precision, recall_by_rank
from tfvlad.evaluation.queries_and_results import QueryResult
from tfvlad.storage.atomic import or_null

_PAGE_QUERIES = 10  # the worst and the best queries that a page shows
_RECALLS = np.linspace(0, 1, RECALL_LEVELS)


class Curve(NamedTuple):
    """A curve of a chart.

    Attributes:
      name: its name in the legend.
      x: (L,) float64, values along the lower axis: recalls in [0, 1], or ranks from 1.
      y: (L,) float64 in [0, 1].
      dashed: whether it is drawn dashed, in the colour of the curve before it.
    """

    name: str
    x: FloatArray
    y: FloatArray
    dashed: bool = False


class JudgedQuery(NamedTuple):
    """A query with the figures that a page shows beside it.

    Attributes:
      result: the query and its first hits.
      value: its value of the data set's measure, such as ``AP 0.123``.
      about: where its right answers were found, in words.
      curve: its precision by recall; None where it has one right answer, whose precision is one number.
    """

    result: QueryResult
    value: str
    about: str
    curve: Curve | None


class EvaluationPage(NamedTuple):
    """The content of a page about an evaluation; `tfvlad.reports.evaluation_page` draws it.

    Attributes:
      title: the heading.
      notes: the paragraphs under it.
      head: the head of the table of metrics.
      metrics: the rows of that table.
      by_rank: the curves of a chart of recall@k by k.
      by_recall: the curves of a chart of precision by recall; empty where no query has more than one right answer, as
        each has one precision then.
      worst: the queries with the lowest values, the worst first.
      best: the queries with the highest values, the best first.
    """

    title: str
    notes: Sequence[str]
    head: Sequence[str]
    metrics: Sequence[Sequence[str]]
    by_rank: Sequence[Curve]
    by_recall: Sequence[Curve]
    worst: Sequence[JudgedQuery]
    best: Sequence[JudgedQuery]


def json_document(evaluation: IndexEvaluation) -> dict[str, object]:
    """Returns all figures of an evaluation as one JSON object.

    The keys at the top are the figures of the exact rankings under the first protocol; ``protocols`` has those of every
    protocol, exact, through the graph and verified, and ``per_query`` the average precision of each query. ``verdicts``
    has, where hits were verified, how many hits of each verdict are right and how many are wrong.
    """
    verdicts = {verdict: {"right": right, "wrong": wrong} for verdict, (right, wrong) in evaluation.verdicts.items()}
    return {
        **_means(next(iter(evaluation.exact.values()))),
        "dataset": evaluation.dataset.name,
        "protocols": {name: _protocol(evaluation, name) for name in evaluation.exact},
        "per_query": [
            {
                "query": query.path,
                "box": None if query.box is None else list(query.box),
                "ap": _aps(evaluation.exact, position),
                **({} if evaluation.graph is None else {"graph_ap": _aps(evaluation.graph, position)}),
                **({} if evaluation.verified is None else {"verified_ap": _aps(evaluation.verified, position)}),
            }
            for position, query in enumerate(evaluation.dataset.queries)
        ],
        **({"verdicts": verdicts} if verdicts else {}),
    }


def metric_rows(metrics: Evaluation) -> list[tuple[str, str]]:
    """Returns the number of queries and the mean metrics as rows of (name, value)."""
    return [("queries", str(metrics.queries)), *((name, f"{value:.4f}") for name, value in _named(metrics))]


def metric_table(evaluation: IndexEvaluation) -> tuple[list[str], list[list[str]]]:
    """Returns the head and the rows of a table of metrics.

    Its columns are the metric and its exact value; its value through the graph and what the graph loses, where the
    graph was asked and loses anything; and its value where hits are verified, where that was asked for. With several
    protocols, each metric names its own in brackets.
    """
    graph, verified = evaluation.graph, evaluation.verified
    head = ["metric", "value" if graph is None and verified is None else "exact"]
    if graph is not None and all(_figures(graph[name]) == _figures(exact) for name, exact in evaluation.exact.items()):
        graph, head = None, ["metric", "exact and graph"]
    head += [*([] if graph is None else ["graph", "loss"]), *([] if verified is None else ["verified"])]
    rows = []
    for protocol, exact in evaluation.exact.items():
        of_protocol = f" ({protocol})" if len(evaluation.exact) > 1 else ""
        rows.append([f"queries{of_protocol}", str(exact.evaluation.queries), *[""] * (len(head) - 2)])
        through_graph = {} if graph is None else _figures(graph[protocol])
        after_verification = {} if verified is None else _figures(verified[protocol])
        for name, value in _figures(exact).items():
            values = [value]
            if graph is not None:
                values += [through_graph[name], value - through_graph[name]]
            if verified is not None:
                values.append(after_verification[name])
            rows.append([f"{name}{of_protocol}", *(f"{number:.4f}" for number in values)])
    return head, rows


def evaluation_page(evaluation: IndexEvaluation) -> EvaluationPage:
    """Returns the content of a page: tables, curves of every protocol, and the worst and the best queries.

    Queries are ordered by the data set's measure under the first protocol, of the verified ranking where there is one.
    """
    dataset, shown = evaluation.dataset, evaluation.verified or evaluation.exact
    protocol, judged = next(iter(shown.items()))
    counted = np.flatnonzero(~np.isnan(judged.values))
    # Of equal values, the lower average precision is the worse one.
    order = counted[np.lexsort((judged.evaluation.aps[counted], judged.values[counted]))].tolist()
    half = min(_PAGE_QUERIES, len(order) // 2) or len(order)
    images = len(evaluation.exact_rankings[0])
    parts = ", each a box in its image" if any(query.box for query in dataset.queries) else ""
    notes = [
        f"{len(counted)} queries{parts}; rankings of {images} images. Right answers have a green frame, a dashed one "
        "where they come later than the hits that are shown.",
    ]
    several = any(len(truth["ok"]) > 1 for truths in dataset.protocols.values() for truth in truths)
    if several:
        notes.append("Precision is interpolated, and the mean over queries.")
    if evaluation.verdicts:
        notes.append(_verdicts_in_words(evaluation))
    if len(evaluation.exact) > 1:
        notes.append(f"Queries below are ordered, and their hits judged, by the protocol {protocol}.")
    head, rows = metric_table(evaluation)
    return EvaluationPage(
        title=f"Evaluation on {dataset.name}",
        notes=notes,
        head=head,
        metrics=rows,
        by_rank=_curves(evaluation, lambda judged, *_: recall_by_rank(judged.evaluation.first_ranks, images)),
        by_recall=_curves(evaluation, _mean_precision) if several else [],
        worst=[_judged_query(evaluation, judged, position) for position in order[:half]],
        best=[_judged_query(evaluation, judged, position) for position in order[half:][::-1][:_PAGE_QUERIES]],
    )


def _figures(judged: Judgement) -> dict[str, float]:
    own = {} if judged.measure == "mAP" else {judged.measure: judged.score}
    return own | dict(_named(judged.evaluation))


def _named(metrics: Evaluation) -> list[tuple[str, float]]:
    named = [("mAP", metrics.map), ("MRR", metrics.mrr)]
    named += [(f"recall@{k}", value) for k, value in metrics.recall_at.items()]
    return named + [(f"mP@{k}", value) for k, value in metrics.mean_precision_at.items()]


def _protocol(evaluation: IndexEvaluation, name: str) -> dict[str, object]:
    exact = evaluation.exact[name]
    result: dict[str, object] = {"exact": _means(exact)}
    if evaluation.graph is not None:
        graph = evaluation.graph[name]
        lost = _figures(graph)
        result["graph"] = _means(graph)
        result["loss"] = {metric: or_null(value - lost[metric]) for metric, value in _figures(exact).items()}
    if evaluation.verified is not None:
        result["verified"] = _means(evaluation.verified[name])
    return result


def _aps(judged: dict[str, Judgement], position: int) -> dict[str, float | None]:
    return {name: or_null(of_protocol.evaluation.aps[position]) for name, of_protocol in judged.items()}


def _means(judged: Judgement) -> dict[str, object]:
    metrics = judged.evaluation
    return {
        "queries": metrics.queries,
        "map": or_null(metrics.map),
        "mrr": or_null(metrics.mrr),
        "recall_at": {str(k): or_null(value) for k, value in metrics.recall_at.items()},
        "mean_precision_at": {str(k): or_null(value) for k, value in metrics.mean_precision_at.items()},
        "measure": judged.measure,
        "score": or_null(judged.score),
    }


def _judged_query(evaluation: IndexEvaluation, judged: Judgement, position: int) -> JudgedQuery:
    name = "AP" if judged.measure == "mAP" else judged.measure
    truth, first = evaluation.dataset.ground_truth[position], judged.evaluation.first_ranks[position]
    right = len(truth["ok"])
    which = "its right answer" if right == 1 else f"the first of {right} right answers"
    curve = None
    if right > 1:
        rankings = evaluation.verified_rankings or evaluation.exact_rankings
        (precisions,) = interpolated_precision([rankings[position]], [truth])
        curve = Curve("Its precision by recall", _RECALLS, precisions)
    return JudgedQuery(
        evaluation.results[position],
        f"{name} {judged.values[position]:.3f}",
        f"{which} is not indexed" if np.isinf(first) else f"{which} at rank {first:.0f}",
        curve,
    )


def _curves(
    evaluation: IndexEvaluation,
    points: Callable[[Judgement, Sequence[Ranking], Sequence[Truth]], tuple[FloatArray, FloatArray]],
) -> list[Curve]:
    """Returns the curves of every protocol: exact, through the graph (dashed), and verified."""
    curves = []
    for protocol, truths in evaluation.dataset.protocols.items():
        if not evaluation.exact[protocol].evaluation.queries:
            continue
        label = f"{protocol}, " if len(evaluation.exact) > 1 else ""
        curves.append(Curve(f"{label}exact", *points(evaluation.exact[protocol], evaluation.exact_rankings, truths)))
        if evaluation.graph is not None and evaluation.graph_rankings is not None:
            through_graph = points(evaluation.graph[protocol], evaluation.graph_rankings, truths)
            curves.append(Curve(f"{label}through the graph", *through_graph, dashed=True))
        if evaluation.verified is not None and evaluation.verified_rankings is not None:
            after = points(evaluation.verified[protocol], evaluation.verified_rankings, truths)
            curves.append(Curve(f"{label}verified", *after))
    return curves


def _verdicts_in_words(evaluation: IndexEvaluation) -> str:
    told = [
        f"{verdict} {right} right, {wrong} wrong"
        for verdict, (right, wrong) in evaluation.verdicts.items()
        if right or wrong
    ]
    return f"Verified hits by verdict: {'; '.join(told)}."


def _mean_precision(
    _judged: Judgement, rankings: Sequence[Ranking], truths: Sequence[Truth]
) -> tuple[FloatArray, FloatArray]:
    return _RECALLS, np.nanmean(interpolated_precision(rankings, truths), axis=0)
