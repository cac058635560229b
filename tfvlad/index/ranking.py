"""Ranking: from query descriptors to the k best images, by the exact search or through a graph.

An image's score is the best of its views'. The first half of this file is arithmetic on arrays; the second half applies
it to a catalog and its graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.errors import ConfigError
from tfvlad.index.catalog import Snapshot
from tfvlad.index.graph import Graph

# One step of an exact search holds so many scores, and so many components of vectors: these stay in a core's cache.
_BLOCK_SCORES = 1 << 22
_BLOCK_COMPONENTS = 1 << 18


class Ranking(NamedTuple):
    """The best images of q queries, best first; equal scores are in the order of the ids.

    Attributes:
      scores: (q, m) float32, cosines; -inf where a query has fewer than m images.
      images: (q, m) int64, ids; -1 where a query has fewer than m images.
      descriptors: (q, m) int64, the descriptor that gave each score; -1 where it is not known.
    """

    scores: NDArray[np.float32]
    images: NDArray[np.int64]
    descriptors: NDArray[np.int64]


# Some vectors, (n, dim) float32 of unit length: the (n,) int64 images that they are of, the vectors, and perhaps the
# ids of the descriptors that they are.
_Ids = NDArray[np.int64]
Vectors = tuple[_Ids, NDArray[np.float32]] | tuple[_Ids, NDArray[np.float32], _Ids]


def best_images(
    scores: NDArray[np.float32], images: NDArray[np.int64], k: int, descriptors: NDArray[np.int64] | None = None
) -> Ranking:
    """Ranks images by their views' scores: an image's score is the best of its views'.

    Args:
      scores: (q, n) float32, of views.
      images: (q, n) int64, the image of each view; -1 stands for none.
      k: the number of images to keep.
      descriptors: (q, n) int64, the views' descriptors, where they are to be known.

    Returns:
      A ranking of min(k, n) columns.

    Example:
      Views with the scores 0.2, 0.5 and 0.9, of the images 7, 3 and 7, rank image 7 (0.9) before image 3 (0.5).
    """
    by_image = np.lexsort((-scores, images), axis=1)
    images = np.take_along_axis(images, by_image, axis=1)
    scores = np.take_along_axis(scores, by_image, axis=1)
    again = images[:, 1:] == images[:, :-1]
    images[:, 1:][again] = -1
    scores[images < 0] = -np.inf
    by_score = np.lexsort((images, -scores), axis=1)[:, :k]
    found = np.take_along_axis(images, by_score, axis=1)
    if descriptors is None:
        owners = np.full(found.shape, -1, np.int64)
    else:
        owners = np.take_along_axis(descriptors, np.take_along_axis(by_image, by_score, axis=1), axis=1)
        owners[found < 0] = -1
    return Ranking(np.take_along_axis(scores, by_score, axis=1), found, owners)


def block_size(queries: int, dim: int) -> int:
    """The number of vectors that an exact search takes at a time, so that its memory is bounded."""
    return max(1, min(_BLOCK_SCORES // max(queries, 1), _BLOCK_COMPONENTS // dim))


def rank_exactly(
    queries: NDArray[np.float32],
    blocks: Iterable[Vectors],
    k: int,
) -> Ranking:
    """Compares every query with every vector, one block of vectors at a time.

    Args:
      queries: (q, dim) float32, unit length.
      blocks: the vectors.
      k: the number of images to keep.

    Returns:
      A ranking of min(k, number of images) columns.
    """
    nothing = np.empty((len(queries), 0), np.int64)
    best = Ranking(nothing.astype(np.float32), nothing, nothing)
    pile: list[Ranking] = []  # to be merged into it: several at once are faster than one by one
    floor = np.full(len(queries), -np.inf, np.float32)  # what a score must reach to be among the k best
    # The products that count are computed in float64 and rounded once, so that equal vectors get equal scores wherever
    # they stand in a block. Which ones can count is seen in float32 first: a sum of `dim` products of unit vectors is
    # off by less than `slack` there (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1, twice).
    wide = queries.astype(np.float64)
    slack = np.float32((queries.shape[1] + 8) * 2.0**-23)
    for images, vectors, *known in blocks:
        near = (queries @ vectors.T >= (floor - slack)[:, None]).any(axis=0)  # (q, dim) @ (dim, n) -> (n,)
        if not near.any():
            continue
        columns = np.flatnonzero(near)
        images, chosen = images[columns], vectors[columns].astype(np.float64)
        scores = (wide @ chosen.T).astype(np.float32)
        descriptors = known[0][columns] if known else np.full(len(images), -1, np.int64)
        pile.append(_best_of_block(scores, images, descriptors, k))
        if sum(ranking.scores.shape[1] for ranking in pile) >= 4 * k:
            best, pile = _merge([best, *pile], k), []
            if best.scores.shape[1] == k:
                floor = best.scores[:, -1]
    if pile:
        best = _merge([best, *pile], k)
    found = int(np.count_nonzero(best.images >= 0, axis=1).max(initial=0))
    return Ranking(best.scores[:, :found], best.images[:, :found], best.descriptors[:, :found])


def _best_of_block(scores: NDArray[np.float32], images: _Ids, descriptors: _Ids, k: int) -> Ranking:
    """The k best images among views with these scores, (q, n), in no order."""
    if (images[1:] > images[:-1]).all():  # every image has one view
        columns = _top_columns(scores, k)
        return Ranking(np.take_along_axis(scores, columns, axis=1), images[columns], descriptors[columns])
    order = np.argsort(images, kind="stable")
    owners, starts = np.unique(images[order], return_index=True)
    of_views = scores[:, order]
    scores = np.maximum.reduceat(of_views, starts, axis=1)  # (q, images), by id
    # The first view of each image that has its score.
    counts = np.diff(starts, append=len(order))
    places = np.where(of_views == np.repeat(scores, counts, axis=1), np.arange(len(order)), len(order))
    firsts = np.minimum.reduceat(places, starts, axis=1)  # (q, images)
    columns = _top_columns(scores, k)
    views = order[np.take_along_axis(firsts, columns, axis=1)]
    return Ranking(np.take_along_axis(scores, columns, axis=1), owners[columns], descriptors[views])


def _merge(rankings: list[Ranking], k: int) -> Ranking:
    scores, images, descriptors = (np.concatenate(parts, axis=1) for parts in zip(*rankings, strict=True))
    return best_images(scores, images, k, descriptors)


def _top_columns(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The columns of each row's k best scores, in no order; among equal scores at the border, the lower columns."""
    n = scores.shape[1]
    if k >= n:
        return np.broadcast_to(np.arange(n), scores.shape)
    columns = np.argpartition(scores, n - k, axis=1)[:, n - k :]
    border = np.take_along_axis(scores, columns[:, :1], axis=1)  # the partition puts the k-th best there
    for row in np.flatnonzero(np.count_nonzero(scores >= border, axis=1) > k):
        columns[row] = np.argsort(-scores[row], kind="stable")[:k]
    return columns


def unit_rows(vectors: ArrayLike, dim: int) -> NDArray[np.float32]:
    """L2-normalises (n, dim) numbers to float32.

    Raises:
      ConfigError: the shape is another, a value is not finite, or a row is all zeros.
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
    """Compares queries, (q, dim) of unit length, with every descriptor of a catalog; see `rank_exactly`."""
    blocks = snapshot.blocks(block_size(*queries.shape))
    return rank_exactly(queries, ((block.images, block.vectors, block.descriptors) for block in blocks), k)


def search_through_graph(
    graph: Graph, snapshot: Snapshot, queries: NDArray[np.float32], k: int, ask_for: int | None = None
) -> Ranking:
    """Searches the graph, or exactly where the graph cannot answer.

    Args:
      graph: stands for the same state as `snapshot`.
      snapshot: tells the image of each descriptor.
      queries: (q, dim) float32, unit length.
      k: the number of images to find.
      ask_for: the number of descriptors that the graph is asked for, k by default. It is doubled for queries that find
        fewer than k images so, because several descriptors are views of the same image.

    Returns:
      A ranking of at most k columns.
    """
    ask_for = ask_for or k
    found = graph.search(queries, ask_for) if ask_for <= len(graph) else None
    if found is None:
        return search_exactly(snapshot, queries, k)
    scores, descriptors = found
    ranking = best_images(scores, snapshot.images_of(descriptors), k, descriptors)
    short = ranking.images[:, -1] < 0
    if short.any():
        again = search_through_graph(graph, snapshot, queries[short], k, 2 * ask_for)
        width = again.scores.shape[1]
        ranking.scores[short, :width] = again.scores
        ranking.images[short, :width] = again.images
        ranking.descriptors[short, :width] = again.descriptors
    return ranking
