"""k-reciprocal re-ranking: an image is more likely to show the same if the query is among its neighbours in turn.

In a collection with several photographs of each thing, the right answers are near each other as well as near the query;
a wrong one that only happens to be near the query has other neighbours. Each picture (the query and every candidate) is
described by its reciprocal neighbours: those pictures of its K nearest that have it among their own K nearest. The
share of neighbours that two pictures have in common, their Jaccard similarity, is mixed with the score that the
candidates had (Zhong, Zheng, Cao and Li, CVPR 2017).

Neighbours are looked for in the whole index, but only those of the candidates, so that the work is bounded: one search
for each candidate. Neighbours that are no candidates take places, and are never in common. Where all images of an index
are candidates, the result is that of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tfvlad.index.catalog import Block
from tfvlad.index.ranking import Ranking
from tfvlad.index.reranking import Candidate

_LEAST_REORDERED, _MOST_REORDERED = 100, 1000  # candidates
_SHARE_OF_SCORE = 0.3  # lambda of the paper: what the score counts beside the neighbours
_EXPANDING_SHARE = 0.5  # of the K neighbours, through which the sets grow
_SMOOTHING_SHARE = 0.3  # of the K neighbours, over which the sets are averaged: 6 of 20 in the paper

Rank = Callable[[NDArray[np.float32], int], Ranking]


def shortlist_for(neighbours: int) -> int:
    """The number of candidates that there should be, at least, to be re-ordered by so many neighbours."""
    return max(_LEAST_REORDERED, 2 * neighbours)


def reordered(
    candidates: Sequence[Candidate], neighbours: int, describe: Callable[[NDArray[np.int64]], Block], rank: Rank
) -> list[Candidate]:
    """Puts the first 1,000 candidates of a query in the order of the mixed scores; the others stay behind them.

    The mixed score takes the place of `Candidate.corrected`, by which the shortlist is in order, so that whatever comes
    next can go by it. `Candidate.score` stays as it is.

    Args:
      candidates: best first.
      neighbours: K, 1 or more.
      describe: gives the descriptors of the whole views of images; an image that has none stays far from everything.
      rank: finds so many images of the index that are nearest to each of some vectors.

    Example:
      >>> better = reordered(candidates, 5, describe, rank)  # the same candidates
    """
    scores = np.array([one.corrected for one in candidates], np.float64)
    mixed = _SHARE_OF_SCORE * scores
    first = candidates[:_MOST_REORDERED]
    images = np.array([one.image for one in first], np.int64)
    described = describe(images)
    if len(described.images):
        cosines = np.array([one.score for one in first], np.float64)
        nearest = rank(described.vectors, neighbours + 1)  # the first is the image itself
        common = similarities(images, cosines, described, nearest, neighbours)
        mixed[: len(first)] += (1 - _SHARE_OF_SCORE) * common
    order = np.argsort(-mixed, kind="stable").tolist()
    return [candidates[at]._replace(corrected=float(mixed[at])) for at in order]


def similarities(
    images: NDArray[np.int64], scores: NDArray[np.float64], described: Block, ranking: Ranking, neighbours: int
) -> NDArray[np.float64]:
    """The Jaccard similarity of a query's reciprocal neighbours and those of each candidate.

    Args:
      images: (n,) of the candidates, best first; their order says which are the query's neighbours.
      scores: (n,) their cosines with the query.
      described: the descriptors of the whole views of the candidates, in any order; some may be missing.
      ranking: the images of the index that are nearest to each row of `described`, best first.
      neighbours: K.

    Returns:
      (n,) 0 to 1.
    """
    position = {image: at for at, image in enumerate(images.tolist(), start=1)}  # the query is at 0
    places = np.full((len(images) + 1, len(images) + 1), np.iinfo(np.int64).max)  # [p, g]: g is p's n-th nearest
    places[0, 1:] = np.arange(1, len(images) + 1)
    np.fill_diagonal(places, 0)
    known = np.zeros(len(images), bool)
    for image, near, cosines in zip(
        described.images.tolist(), ranking.images.tolist(), ranking.scores.tolist(), strict=True
    ):
        at = position[image]
        known[at - 1] = True
        of_query = scores[at - 1]
        others = [(one, cosine) for one, cosine in zip(near, cosines, strict=True) if one >= 0 and one != image]
        nearer = sum(cosine >= of_query for _, cosine in others)
        places[at, 0] = nearer + 1
        for place, (one, _) in enumerate(others):
            if one in position:
                places[at, position[one]] = place + 1 + (place >= nearer)
    vectors = np.zeros((len(images), described.vectors.shape[1]))
    vectors[[position[image] - 1 for image in described.images.tolist()]] = described.vectors
    cosines = np.eye(len(images) + 1)
    cosines[0, 1:] = cosines[1:, 0] = scores
    cosines[1:, 1:] = np.where(np.eye(len(images), dtype=bool), 1, vectors @ vectors.T)
    near_sets = _reciprocal_sets(places, neighbours)
    weights = np.where(near_sets, np.exp(cosines - 1), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.where(known, _shared(weights, places, neighbours), 0)


def _reciprocal_sets(places: NDArray[np.int64], neighbours: int) -> NDArray[np.bool_]:
    """The reciprocal neighbours of each picture and those of these that mostly have the same, (m, m)."""
    wide = _mutual(places, neighbours)
    narrow = _mutual(places, math.ceil(_EXPANDING_SHARE * neighbours)).astype(np.float64)
    common = wide @ narrow.T  # [p, g]: how many of g's nearest are p's as well
    grows = wide & (3 * common >= 2 * narrow.sum(axis=1))
    grown: NDArray[np.bool_] = wide | (grows @ narrow > 0)
    return grown


def _mutual(places: NDArray[np.int64], neighbours: int) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = places <= neighbours
    return near & near.T


def _shared(weights: NDArray[np.float64], places: NDArray[np.int64], neighbours: int) -> NDArray[np.float64]:
    """The Jaccard similarity of the first row's and each other row's weights, which are averaged over neighbours."""
    few = min(max(2, math.ceil(_SMOOTHING_SHARE * neighbours)), len(places))  # with the picture itself
    smooth = (places < few).astype(np.float64) @ weights / few
    common = np.minimum(smooth[0], smooth[1:]).sum(axis=1)
    jaccard: NDArray[np.float64] = common / (2 - common)  # each sums to 1, with what is not among the candidates
    return jaccard
