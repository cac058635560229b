"""The retrieval metrics under the name that the documentation gives them; see `tfvlad.evaluation.metrics`."""

from tfvlad.evaluation.metrics import (
    Evaluation,
    average_precision,
    evaluate,
    holidays_ap,
    ns_score,
    positive_ranks,
    relevance,
)

__all__ = ["Evaluation", "average_precision", "evaluate", "holidays_ap", "ns_score", "positive_ranks", "relevance"]
