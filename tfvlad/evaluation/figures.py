"""How an evaluation is shown: as JSON and as rows of a table."""

from __future__ import annotations

from tfvlad.evaluation.datasets import Judgement
from tfvlad.evaluation.measuring import Measurement
from tfvlad.evaluation.metrics import Evaluation
from tfvlad.storage.atomic import or_null


def as_json(measured: Measurement) -> dict[str, object]:
    """All figures as one JSON object: first those of the exact rankings under the first protocol."""
    return {
        **_means(next(iter(measured.exact.values()))),
        "dataset": measured.dataset.name,
        "protocols": {name: _protocol(measured, name) for name in measured.exact},
        "per_query": [
            {
                "query": query.path,
                "box": None if query.box is None else list(query.box),
                "ap": _aps(measured.exact, place),
                **({} if measured.graph is None else {"graph_ap": _aps(measured.graph, place)}),
            }
            for place, query in enumerate(measured.dataset.queries)
        ],
    }


def as_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The means as (name, value)."""
    return [("queries", str(evaluation.queries)), *((name, f"{value:.4f}") for name, value in _named(evaluation))]


def as_columns(measured: Measurement) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table: metric, exact, through the graph, and what the graph loses."""
    rows = []
    for protocol, exact in measured.exact.items():
        of_protocol = f" ({protocol})" if len(measured.exact) > 1 else ""
        rows.append(
            [f"queries{of_protocol}", str(exact.evaluation.queries), *([] if measured.graph is None else ["", ""])]
        )
        values = [_figures(exact)]
        if measured.graph is not None:
            values.append(_figures(measured.graph[protocol]))
        for name, value in values[0].items():
            cells = [f"{column[name]:.4f}" for column in values]
            if measured.graph is not None:
                cells.append(f"{value - values[1][name]:.4f}")
            rows.append([f"{name}{of_protocol}", *cells])
    return ["metric", "value"] if measured.graph is None else ["metric", "exact", "graph", "loss"], rows


def _figures(judged: Judgement) -> dict[str, float]:
    own = {} if judged.measure == "mAP" else {judged.measure: judged.score}
    return own | dict(_named(judged.evaluation))


def _named(evaluation: Evaluation) -> list[tuple[str, float]]:
    named = [("mAP", evaluation.map), ("MRR", evaluation.mrr)]
    named += [(f"recall@{k}", value) for k, value in evaluation.recall_at.items()]
    return named + [(f"mP@{k}", value) for k, value in evaluation.mean_precision_at.items()]


def _protocol(measured: Measurement, name: str) -> dict[str, object]:
    exact = measured.exact[name]
    result: dict[str, object] = {"exact": _means(exact)}
    if measured.graph is not None:
        graph = measured.graph[name]
        lost = _figures(graph)
        result["graph"] = _means(graph)
        result["loss"] = {metric: or_null(value - lost[metric]) for metric, value in _figures(exact).items()}
    return result


def _aps(judged: dict[str, Judgement], place: int) -> dict[str, float | None]:
    return {name: or_null(of_protocol.evaluation.aps[place]) for name, of_protocol in judged.items()}


def _means(judged: Judgement) -> dict[str, object]:
    evaluation = judged.evaluation
    return {
        "queries": evaluation.queries,
        "map": or_null(evaluation.map),
        "mrr": or_null(evaluation.mrr),
        "recall_at": {str(k): or_null(value) for k, value in evaluation.recall_at.items()},
        "mean_precision_at": {str(k): or_null(value) for k, value in evaluation.mean_precision_at.items()},
        "measure": judged.measure,
        "score": or_null(judged.score),
    }
