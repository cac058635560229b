"""Queries searched in an index, exactly and through its graph, and judged by ground truth."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import tfvlad
from tfvlad.errors import ConfigError, Failure
from tfvlad.evaluation.datasets import Dataset, Judgement, Query, Truth
from tfvlad.evaluation.metrics import Evaluation
from tfvlad.evaluation.queries import encode_queries
from tfvlad.evaluation.results import ResultHit, ResultRow

_MOST_HITS = 1 << 21  # held at a time: some 400 MB
_MOST_QUERIES = 64
_GRAPH_SHARE = 10  # a search for more than a tenth of an index does not use its graph

Ranking = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a measurement gave.

    Attributes:
      dataset: the queries that could be used, with their right answers.
      exact: protocol -> judgement of the complete, exact rankings.
      graph: the same through the graph; None where that was not asked for.
      exact_rankings: of each query, all ids of the index.
      graph_rankings: the first hits through the graph, behind them the rest in exact order, so that what they lose is
        what the graph missed; None where that was not asked for.
      rows: the queries with their first exact hits, and the first right answer where it comes later, judged under the
        first protocol.
      failures: the queries that could not be used; they are left out.
    """

    dataset: Dataset
    exact: dict[str, Judgement]
    graph: dict[str, Judgement] | None
    exact_rankings: list[Ranking]
    graph_rankings: list[Ranking] | None
    rows: list[ResultRow]
    failures: list[Failure]

    @property
    def evaluation(self) -> Evaluation:
        """The metrics of the exact rankings under the first protocol."""
        return next(iter(self.exact.values())).evaluation


def measure(index: tfvlad.Index, dataset: Dataset, depth: int | None = None, shown: int = 4) -> Measurement:
    """Ranks the whole index for every query.

    Args:
      index: the database.
      dataset: queries and right answers, by the ids of the index.
      depth: hits to take from the graph, at most a tenth of the index; None searches exactly only.
      shown: hits that `rows` keeps of each query.

    Raises:
      ConfigError: no query with a right answer can be used.
    """
    places, descriptors, failures = encode_queries(index.encoder, dataset.queries)
    usable = dataset.select(places)
    if not any(truth["ok"] for truth in usable.ground_truth):
        reasons = {failure.path: failure.reason for failure in failures}
        path = next(
            query.path
            for query, truth in zip(dataset.queries, dataset.ground_truth, strict=True)
            if truth["ok"] and query.path in reasons
        )
        raise ConfigError(
            f"no query of {dataset.name} that has a match can be used; the first is {path}: {reasons[path]}"
        )
    size = len(index)
    exact, rows = [], []
    through_graph: list[Ranking] | None = None if depth is None else []
    at_a_time = max(1, min(_MOST_QUERIES, _MOST_HITS // max(1, size)))
    for start in range(0, len(places), at_a_time):
        batch = descriptors[start : start + at_a_time]
        for place, hits in enumerate(index.search_descriptors(batch, size, exact=True), start):
            exact.append(_ids(hits))
            rows.append(_row(usable.queries[place], _judged(hits, usable.ground_truth[place]), shown))
        if through_graph is not None and depth is not None:
            few = max(1, min(depth, (size - 1) // _GRAPH_SHARE))
            for place, hits in enumerate(index.search_descriptors(batch, few), start):
                through_graph.append(_completed(_ids(hits), exact[place]))
    return Measurement(
        usable,
        usable.judge(exact),
        None if through_graph is None else usable.judge(through_graph),
        exact,
        through_graph,
        rows,
        failures,
    )


def _ids(hits: Sequence[tfvlad.Hit]) -> Ranking:
    ids = np.array([hit.id for hit in hits], np.int64)
    return ids.astype(np.min_scalar_type(ids.max(initial=0)))  # thousands of complete rankings are held


def _completed(first: Ranking, complete: Ranking) -> Ranking:
    return np.concatenate([first, complete[~np.isin(complete, first)]])


def _row(query: Query, hits: Iterator[ResultHit], shown: int) -> ResultRow:
    first = list(itertools.islice(hits, shown))
    missed = None
    if not any(hit.right for hit in first):
        missed = next(((hit, rank) for rank, hit in enumerate(hits, shown + 1) if hit.right), None)
    return ResultRow(query.path, first, query.box, missed)


def _judged(hits: Sequence[tfvlad.Hit], truth: Truth) -> Iterator[ResultHit]:
    right, junk = set(truth["ok"]), set(truth["junk"])
    for hit in hits:
        if hit.id not in junk:
            yield ResultHit(hit.path, hit.score, hit.id in right)
