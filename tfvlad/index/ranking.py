"""Pure functions from scores to rankings: the k best images, each by the best of its views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Scores that one step of an exact search holds, and components of vectors: these stay in a core's cache.
_BLOCK_SCORES = 1 << 22
_BLOCK_COMPONENTS = 1 << 18


class Ranking(NamedTuple):
    """The best images of q queries, best first, equal scores by lower id.

    Attributes:
      scores: (q, m) float32; -inf where a query has fewer than m images.
      images: (q, m) int64; -1 there.
    """

    scores: NDArray[np.float32]
    images: NDArray[np.int64]


def best_images(scores: NDArray[np.float32], images: NDArray[np.int64], k: int) -> Ranking:
    """Ranks scored views of images: an image's score is the best of its views'.

    Args:
      scores: (q, n) float32.
      images: (q, n) int64, the image of each view; -1 is none.
      k: images to keep.

    Returns:
      min(k, n) columns.
    """
    by_image = np.lexsort((-scores, images), axis=1)
    images = np.take_along_axis(images, by_image, axis=1)
    scores = np.take_along_axis(scores, by_image, axis=1)
    again = images[:, 1:] == images[:, :-1]
    images[:, 1:][again] = -1
    scores[images < 0] = -np.inf
    by_score = np.lexsort((images, -scores), axis=1)[:, :k]
    return Ranking(np.take_along_axis(scores, by_score, axis=1), np.take_along_axis(images, by_score, axis=1))


def block_size(queries: int, dim: int) -> int:
    """Vectors that an exact search takes at a time, so that memory stays bounded."""
    return max(1, min(_BLOCK_SCORES // max(queries, 1), _BLOCK_COMPONENTS // dim))


def rank_exactly(
    queries: NDArray[np.float32],
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
    k: int,
) -> Ranking:
    """Compares every query with every vector, a block at a time.

    Args:
      queries: (q, dim) float32, unit length.
      blocks: pairs of (n,) int64 images and (n, dim) float32 vectors, unit length.
      k: images to keep.

    Returns:
      min(k, number of images) columns.
    """
    best = Ranking(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))
    # In float64, rounded once at the end, so that equal vectors score the same wherever they stand in a block.
    wide = queries.astype(np.float64)
    for pile in _piles(_block_bests(wide, blocks, k), width=4 * k):
        together = [best, *pile]
        scores = np.concatenate([ranking.scores for ranking in together], axis=1)
        images = np.concatenate([ranking.images for ranking in together], axis=1)
        best = best_images(scores, images, k)
    found = int(np.count_nonzero(best.images >= 0, axis=1).max(initial=0))
    return Ranking(best.scores[:, :found], best.images[:, :found])


def _block_bests(
    queries: NDArray[np.float64], blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]], k: int
) -> Iterator[Ranking]:
    for images, vectors in blocks:
        scores = (queries @ vectors.T.astype(np.float64)).astype(np.float32)  # (q, dim) @ (dim, n) -> (q, n)
        order = np.argsort(images, kind="stable")
        owners, starts = np.unique(images[order], return_index=True)
        if len(owners) < len(images) or np.any(order[1:] < order[:-1]):
            scores = np.maximum.reduceat(scores[:, order], starts, axis=1)  # (q, images), by id
        columns = _top_columns(scores, k)
        yield Ranking(np.take_along_axis(scores, columns, axis=1), owners[columns])


def _piles(rankings: Iterable[Ranking], width: int) -> Iterator[list[Ranking]]:
    """Gathers rankings until they are `width` wide together: merging them so costs less than one by one."""
    pile: list[Ranking] = []
    for ranking in rankings:
        pile.append(ranking)
        if sum(piled.scores.shape[1] for piled in pile) >= width:
            yield pile
            pile = []
    if pile:
        yield pile


def _top_columns(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The columns of each row's k best scores, in no order; of equal ones at the border, the lower columns."""
    n = scores.shape[1]
    if k >= n:
        return np.broadcast_to(np.arange(n), scores.shape)
    columns = np.argpartition(scores, n - k, axis=1)[:, n - k :]
    border = np.take_along_axis(scores, columns[:, :1], axis=1)  # the partition puts the k-th best first
    for row in np.flatnonzero(np.count_nonzero(scores >= border, axis=1) > k):
        columns[row] = np.argsort(-scores[row], kind="stable")[:k]
    return columns
