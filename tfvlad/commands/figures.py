"""How an evaluation is shown: as JSON and as rows of a table."""

from __future__ import annotations

from tfvlad.metrics import Evaluation


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """The means as one JSON object."""
    return {
        "queries": evaluation.queries,
        "map": evaluation.map,
        "mrr": evaluation.mrr,
        "recall_at": {str(k): value for k, value in evaluation.recall_at.items()},
        "mean_precision_at": {str(k): value for k, value in evaluation.mean_precision_at.items()},
    }


def as_rows(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The means as (name, value)."""
    rows = [("queries", str(evaluation.queries)), ("mAP", f"{evaluation.map:.4f}"), ("MRR", f"{evaluation.mrr:.4f}")]
    rows += [(f"recall@{k}", f"{value:.4f}") for k, value in evaluation.recall_at.items()]
    rows += [(f"mP@{k}", f"{value:.4f}") for k, value in evaluation.mean_precision_at.items()]
    return rows
