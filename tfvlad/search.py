"""The two searches over a catalog, exact and approximate, and how well they agree."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.errors import ConfigError
from tfvlad.graph import Graph
from tfvlad.ranking import Ranking, best_images, block_size, rank_exactly
from tfvlad.tables import Snapshot

# Cosines of the graph and of the exact search differ by float32 rounding; nearer than this, they are a tie.
_TIE = 1e-5


@dataclasses.dataclass(frozen=True)
class Verification:
    """How much of the exact result the approximate search finds.

    Attributes:
      recall: share of the exact k nearest images that the approximate search finds, or finds an equally near image
        for; the query's own image is left out. 1 where there is nothing to find.
      k: neighbours of each query.
      queries: descriptors of the index that were searched for.
      target_recall: what was asked for.
      target_met: whether `recall` reaches it.
    """

    recall: float
    k: int
    queries: int
    target_recall: float
    target_met: bool


def unit_rows(vectors: ArrayLike, dim: int) -> NDArray[np.float32]:
    """L2-normalises (n, dim) numbers to float32.

    Raises:
      ConfigError: another shape, a value that is not finite, or a row of zeros.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ConfigError(f"vectors must have the shape (n, {dim}), got {rows.shape}")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if bad.size:
        raise ConfigError(f"vectors must be finite and not all zeros, but row {bad[0]} is not")
    unit: NDArray[np.float32] = (rows / norms).astype(np.float32)
    return unit


def search_exactly(snapshot: Snapshot, queries: NDArray[np.float32], k: int) -> Ranking:
    """Compares with every descriptor: (q, dim) unit-length queries to a ranking of min(k, images) columns."""
    blocks = snapshot.blocks(block_size(*queries.shape))
    return rank_exactly(queries, ((block.images, block.vectors) for block in blocks), k)


def search_approximately(
    graph: Graph, snapshot: Snapshot, queries: NDArray[np.float32], k: int, views: int | None = None
) -> Ranking:
    """Searches the graph: (q, dim) unit-length queries to a ranking of at most k columns.

    Args:
      graph: of the same state as `snapshot`.
      snapshot: tells each descriptor's image.
      queries: (q, dim) float32, unit length.
      k: images to find.
      views: descriptors to ask the graph for, k unless told; doubled for queries that find fewer than k images so.
    """
    views = views or k
    found = graph.search(queries, views) if views <= len(graph) else None
    if found is None:
        return search_exactly(snapshot, queries, k)
    scores, descriptors = found
    ranking = best_images(scores, snapshot.images_of(descriptors), k)
    short = ranking.images[:, -1] < 0
    if short.any():
        again = search_approximately(graph, snapshot, queries[short], k, 2 * views)
        ranking.scores[short, : again.scores.shape[1]] = again.scores
        ranking.images[short, : again.images.shape[1]] = again.images
    return ranking


def verify(graph: Graph, snapshot: Snapshot, k: int, target_recall: float, sample: int, seed: int) -> Verification:
    """Searches both ways for a random sample of the index's own descriptors."""
    ids = snapshot.descriptor_ids()
    chosen = np.random.default_rng(seed).choice(ids, size=min(sample, len(ids)), replace=False)
    block = snapshot.block_of(chosen)
    found = wanted = 0
    if len(chosen):
        exact = _others(search_exactly(snapshot, block.vectors, k + 1), block.images, k)
        approximate = _others(search_approximately(graph, snapshot, block.vectors, k + 1), block.images, k)
        there = np.count_nonzero(exact > -np.inf, axis=1)  # (q,)
        border = np.take_along_axis(exact, np.maximum(there - 1, 0)[:, None], axis=1) - _TIE  # (q, 1)
        wanted = int(there.sum())
        found = int(np.minimum(np.count_nonzero(approximate >= border, axis=1), there).sum())
    recall = found / wanted if wanted else 1.0
    return Verification(recall, k, len(chosen), target_recall, recall >= target_recall)


def _others(ranking: Ranking, own: NDArray[np.int64], k: int) -> NDArray[np.float32]:
    """The k best scores of images that are not the query's own, best first: (q, at most k)."""
    scores = np.where(ranking.images == own[:, None], -np.inf, ranking.scores).astype(np.float32)
    return -np.sort(-scores, axis=1)[:, :k]
