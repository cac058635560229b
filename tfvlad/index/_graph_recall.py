"""The graph's recall: how much of the exact result the graph finds, and the least effort that finds enough of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tfvlad.index.catalog import Snapshot
from tfvlad.index.graph import Graph
from tfvlad.index.ranking import search_exactly, search_through_graph, unit_rows

# The graph's cosines and those of the exact search differ by float32 rounding; closer ones than this count as equal.
_TIE = 1e-5

_MOST_CANDIDATES = 1 << 13  # a graph that needs more is no faster than the exact search


@dataclasses.dataclass(frozen=True)
class GraphRecall:
    """How much of the exact result the graph finds.

    Attributes:
      recall: share of the exact k nearest images that the graph finds, or for which it finds an equally near one; 1 if
        there is nothing to find.
      k: the number of neighbours of each query.
      queries: the number of queries, each near another descriptor of the index.
      ef_search: candidates that the searches kept: the index's own number or, with a target, the smallest that reaches
        it, or the largest that was tried.
      target_recall: the recall that was asked for, if any.
      target_met: whether `recall` reaches the target; True if there was none.
    """

    recall: float
    k: int
    queries: int
    ef_search: int
    target_recall: float | None
    target_met: bool


def measure_graph_recall(
    graph: Graph, snapshot: Snapshot, k: int, target_recall: float | None, sample: int, seed: int, least: int = 0
) -> GraphRecall:
    """Searches through the graph and exactly, for queries near a random sample of the index's own descriptors.

    Args:
      graph: stands for the same state as `snapshot`.
      snapshot: the catalog, which is searched exactly.
      k: the number of neighbours of each query.
      target_recall: the recall for which the smallest `ef_search` is looked for; None measures with the graph's own.
      sample: the number of queries, at most.
      seed: of the sample, and of where the queries lie.
      least: the smallest `ef_search` to try, if that is more than k.
    """
    queries = queries_nearby(snapshot, k, sample, seed)
    exact = search_exactly(snapshot, queries, k).scores
    own, most = graph.ef_search, min(len(graph), _MOST_CANDIDATES)

    def recall(ef_search: int) -> float:
        graph.ef_search = ef_search
        return _recall(exact, search_through_graph(graph, snapshot, queries, k).scores)

    try:
        if target_recall is None or not exact.size:
            ef_search, reached = own, recall(own)
        else:
            least = max(k, least)
            ef_search, reached = _smallest(recall, target_recall, least, max(least, most))
    finally:
        graph.ef_search = own
    met = target_recall is None or reached >= target_recall
    return GraphRecall(reached, k, len(queries), ef_search, target_recall, met)


def queries_nearby(snapshot: Snapshot, k: int, sample: int, seed: int) -> NDArray[np.float32]:
    """Makes queries that are as hard to find as those from elsewhere: (at most `sample`, dim) float32, unit length.

    Indexed descriptors are easier to find than new ones, because the graph links them to their neighbours; recall
    measured with them would be too high. So each is moved in a random direction, as far as its k-th neighbour.
    """
    generator = np.random.default_rng(seed)
    ids = snapshot.descriptor_ids()
    block = snapshot.block_of(generator.choice(ids, size=min(sample, len(ids)), replace=False))
    count, dim = block.vectors.shape
    if not count:
        return block.vectors
    cosines = search_exactly(snapshot, block.vectors, k + 1).scores[:, -1:]  # the nearest is its own image
    distances = np.sqrt(2 - 2 * np.clip(cosines, -1, 1))  # between unit vectors
    return unit_rows(block.vectors + distances * unit_rows(generator.standard_normal((count, dim)), dim), dim)


def _smallest(recall: Callable[[int], float], target: float, least: int, most: int) -> tuple[int, float]:
    """The smallest number that reaches the target, provided that recall grows with it; `most` if none does."""
    low, high = least - 1, least
    while (reached := recall(high)) < target and high < most:
        low, high = high, min(2 * high, most)
    while reached >= target and high - low > 1:
        middle = (low + high) // 2
        if (there := recall(middle)) >= target:
            high, reached = middle, there
        else:
            low = middle
    return high, reached


def _recall(exact: NDArray[np.float32], approximate: NDArray[np.float32]) -> float:
    """The share of the exact result that the graph finds, judged by scores: (q, at most k) each, best first."""
    there = np.count_nonzero(exact > -np.inf, axis=1)  # (q,)
    if not there.any():
        return 1.0
    border = np.take_along_axis(exact, np.maximum(there - 1, 0)[:, None], axis=1) - _TIE  # (q, 1)
    found = np.minimum(np.count_nonzero(approximate >= border, axis=1), there)
    return float(found.sum() / there.sum())
