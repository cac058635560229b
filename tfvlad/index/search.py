"""The two searches over a catalog, exact and approximate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.errors import ConfigError
from tfvlad.index.catalog.reading import Ids, Snapshot
from tfvlad.index.graph import Graph
from tfvlad.index.ranking import Ranking, best_images, block_size, rank_exactly

Found = tuple[NDArray[np.float32], Ids]  # scores, best first, and descriptors: (q, views) each


def unit_rows(vectors: ArrayLike, dim: int) -> NDArray[np.float32]:
    """L2-normalises (n, dim) numbers to float32.

    Raises:
      ConfigError: another shape, a value that is not finite, or a row of zeros.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ConfigError(f"vectors must have the shape (n, {dim}), got {rows.shape}")
    norms = np.sqrt(np.vecdot(rows, rows))
    good = [0 < norm < math.inf for norm in norms.tolist()]
    if not all(good):
        raise ConfigError(f"vectors must be finite and not all zeros, but row {good.index(False)} is not")
    unit: NDArray[np.float32] = (rows / norms[:, None]).astype(np.float32)
    return unit


def search_exactly(snapshot: Snapshot, queries: NDArray[np.float32], k: int) -> Ranking:
    """Compares with every descriptor: (q, dim) unit-length queries to a ranking of min(k, images) columns."""
    blocks = snapshot.blocks(block_size(*queries.shape))
    return rank_exactly(queries, ((block.images, block.vectors) for block in blocks), k)


def search_graph(graph: Graph, queries: NDArray[np.float32], views: int) -> Found | None:
    """Asks the graph for `views` descriptors of each query; None where it cannot give so many."""
    return graph.search(queries, views) if views <= len(graph) else None


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
    return rank_found(graph, snapshot, queries, search_graph(graph, queries, views or k), k)


def rank_found(graph: Graph, snapshot: Snapshot, queries: NDArray[np.float32], found: Found | None, k: int) -> Ranking:
    """`search_approximately`, going on from what `search_graph` gave."""
    if found is None:
        return search_exactly(snapshot, queries, k)
    scores, descriptors = found
    ranking = best_images(scores, snapshot.images_of(descriptors), k)
    short = ranking.images[:, -1] < 0
    if short.any():
        again = search_approximately(graph, snapshot, queries[short], k, 2 * scores.shape[1])
        ranking.scores[short, : again.scores.shape[1]] = again.scores
        ranking.images[short, : again.images.shape[1]] = again.images
    return ranking
