"""How much of the exact result the graph finds, and the least effort that finds enough of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tfvlad.graph import Graph
from tfvlad.ranking import Ranking
from tfvlad.search import search_approximately, search_exactly
from tfvlad.tables import Block, Snapshot

# Cosines of the graph and of the exact search differ by float32 rounding; nearer than this, they are a tie.
_TIE = 1e-5

_MOST_CANDIDATES = 1 << 13  # a graph that needs more is no faster than the exact search


@dataclasses.dataclass(frozen=True)
class Verification:
    """How much of the exact result the approximate search finds.

    Attributes:
      recall: share of the exact k nearest images that the approximate search finds, or finds an equally near image
        for; the query's own image is left out. 1 where there is nothing to find.
      k: neighbours of each query.
      queries: descriptors of the index that were searched for.
      ef_search: candidates that the search kept: the index's own number or, where there was a target, the smallest
        that reaches it, or the largest that was tried.
      target_recall: what was asked for, if anything.
      target_met: whether `recall` reaches it; true where nothing was asked for.
    """

    recall: float
    k: int
    queries: int
    ef_search: int
    target_recall: float | None
    target_met: bool


def verify(
    graph: Graph, snapshot: Snapshot, k: int, target_recall: float | None, sample: int, seed: int, least: int = 0
) -> Verification:
    """Searches both ways for a random sample of the index's own descriptors.

    Args:
      graph: of the same state as `snapshot`.
      snapshot: what is searched exactly.
      k: neighbours of each query.
      target_recall: recall to look for the smallest `ef_search` of; None takes the graph's own.
      sample: queries, at most.
      seed: of the sample.
      least: `ef_search` to begin with, k + 1 unless that is less.
    """
    ids = snapshot.descriptor_ids()
    chosen = np.random.default_rng(seed).choice(ids, size=min(sample, len(ids)), replace=False)
    block = snapshot.block_of(chosen)
    exact = _others(search_exactly(snapshot, block.vectors, k + 1), block, k)
    own, most = graph.ef_search, min(len(graph), _MOST_CANDIDATES)

    def recall(ef_search: int) -> float:
        graph.ef_search = ef_search
        return _recall(exact, _others(search_approximately(graph, snapshot, block.vectors, k + 1), block, k))

    try:
        if target_recall is None or not np.isfinite(exact).any():
            ef_search, reached = own, recall(own)
        else:
            least = max(k + 1, least)
            ef_search, reached = _smallest(recall, target_recall, least, max(least, most))
    finally:
        graph.ef_search = own
    met = target_recall is None or reached >= target_recall
    return Verification(reached, k, len(chosen), ef_search, target_recall, met)


def _smallest(recall: Callable[[int], float], target: float, least: int, most: int) -> tuple[int, float]:
    """The smallest number that reaches the target, as if recall only grew with it; `most` where none does."""
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
    """The share of the exact scores that the approximate ones reach: (q, at most k) each, best first."""
    there = np.count_nonzero(exact > -np.inf, axis=1)  # (q,)
    if not there.any():
        return 1.0
    border = np.take_along_axis(exact, np.maximum(there - 1, 0)[:, None], axis=1) - _TIE  # (q, 1)
    found = np.minimum(np.count_nonzero(approximate >= border, axis=1), there)
    return float(found.sum() / there.sum())


def _others(ranking: Ranking, queries: Block, k: int) -> NDArray[np.float32]:
    """The k best scores of images that are not the query's own, best first: (q, at most k)."""
    scores = np.where(ranking.images == queries.images[:, None], -np.inf, ranking.scores).astype(np.float32)
    return -np.sort(-scores, axis=1)[:, :k]
