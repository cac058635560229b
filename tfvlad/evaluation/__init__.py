"""Measuring search quality: how well an index, or any ranking, answers queries whose right answers are known.

Folders of queries and the files of public benchmarks enter (`tfvlad.evaluation.datasets`); metrics, curves and judged
results leave, for `tfvlad.reports` to draw and the commands to print::

    from tfvlad import Index
    from tfvlad.evaluation import evaluate_index, load_queries_and_database

    with Index.open("covers.index") as index:
        dataset, not_indexed = load_queries_and_database(index, queries="photographs", ground_truth="same_name")
        evaluation = evaluate_index(index, dataset)
    print(evaluation.metrics.map, evaluation.metrics.recall_at[1])

`tfvlad.evaluation.metrics` are pure functions of rankings, `tfvlad.evaluation.summary` is what is told of an
evaluation. This package may import `tfvlad.index`, `tfvlad.encoding`, `tfvlad.images`, `tfvlad.storage` and what lies
beside them; never `tfvlad.sweep`, `tfvlad.reports` or the commands. Its names are loaded when first used, because an
index needs libraries that data sets and metrics do without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfvlad.evaluation.index_evaluation import IndexEvaluation, evaluate_index, load_queries_and_database
    from tfvlad.evaluation.metrics import Evaluation, evaluate
    from tfvlad.evaluation.queries_and_results import (
        EncodedQueries,
        QueryResult,
        ResultHit,
        SearchedQueries,
        encode_queries,
        search_queries,
    )

__all__ = [
    "EncodedQueries",
    "Evaluation",
    "IndexEvaluation",
    "QueryResult",
    "ResultHit",
    "SearchedQueries",
    "encode_queries",
    "evaluate",
    "evaluate_index",
    "load_queries_and_database",
    "search_queries",
]

_MODULES = {
    "EncodedQueries": "queries_and_results",
    "Evaluation": "metrics",
    "IndexEvaluation": "index_evaluation",
    "QueryResult": "queries_and_results",
    "ResultHit": "queries_and_results",
    "SearchedQueries": "queries_and_results",
    "encode_queries": "queries_and_results",
    "evaluate": "metrics",
    "evaluate_index": "index_evaluation",
    "load_queries_and_database": "index_evaluation",
    "search_queries": "queries_and_results",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
