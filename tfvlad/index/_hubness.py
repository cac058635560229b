"""Hubness: how near an image is to everything, and shortlists that do without it.

In spaces of many dimensions some points, the hubs, are among the nearest of nearly all others (Radovanović et al., JMLR
2010). A plain or blurred picture is one: it is found for every query. What an image's cosines with unrelated images
usually are is measured, once for each image of an index, and subtracted from its cosine with a query. (This is the
database's half of cross-domain similarity local scaling, CSLS: Conneau et al., ICLR 2018; the query's half is the same
for all images and changes no order.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tfvlad.index.ranking import Ranking

# Ranks descriptors, (q, dim) float32 of unit length, against an index: finds k images for each.
Search: TypeAlias = Callable[[NDArray[np.float32], int], Ranking]

NEAREST = 10  # images whose cosines are not counted: what shows the same is no sign of a hub
COUNTED = 40  # of the images after those
FEWEST_IMAGES = 60  # of an index; with fewer, nothing is corrected

_AT_ONCE = 256  # descriptors in one search


def hubness(ranking: Ranking, images: NDArray[np.int64]) -> NDArray[np.float32]:
    """The mean cosine of images with their 11th to 50th nearest other images.

    Example:
      An image whose nearest 50 others have cosines 1 (10 times, copies of it) and 0.25 (40 times) has hubness 0.25.

    Args:
      ranking: of q images' descriptors as queries, for `NEAREST` + `COUNTED` + 1 images; each finds itself, too.
      images: (q,) int64, the images.

    Returns:
      (q,) float32; 0 where fewer than `NEAREST` other images were found.
    """
    others = np.where((ranking.images == images[:, None]) | (ranking.images < 0), -np.inf, ranking.scores)
    counted = -np.sort(-others, axis=1)[:, NEAREST : NEAREST + COUNTED]
    exist = counted > -np.inf
    sums = np.where(exist, counted, 0).sum(axis=1, dtype=np.float64)
    means: NDArray[np.float32] = (sums / np.maximum(exist.sum(axis=1), 1)).astype(np.float32)
    return means


def measure_hubness(
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]], search: Search, indexed: int
) -> dict[int, float]:
    """Measures the hubness of images.

    Args:
      blocks: pairs of (n,) int64 images and their (n, dim) float32 descriptors, of all images or of some.
      search: searches all images of the index, through the graph or exactly.
      indexed: how many images there are in the index.

    Returns:
      The hubness by image, that of the view with the largest; 0 for each where the index has fewer images than
      `FEWEST_IMAGES`.
    """
    found: dict[int, float] = {}
    for images, vectors in _pieces(blocks):
        values = np.zeros(len(images), np.float32)
        if indexed >= FEWEST_IMAGES:
            values = hubness(search(vectors, NEAREST + COUNTED + 1), images)
        for image, value in zip(images.tolist(), values.tolist(), strict=True):
            found[image] = max(value, found.get(image, -np.inf))
    return found


def without_hubness(ranking: Ranking, hubness: NDArray[np.float32], k: int) -> Ranking:
    """The k best of a ranking by their cosines less their hubness.

    Args:
      ranking: of q queries, longer than k by so much that it holds what hubs have pushed back.
      hubness: (q, m) float32, of the ranking's images.
      k: how many images to keep.

    Returns:
      The images in the new order, of equal ones the one with the lower id first; their scores are still the cosines.
    """
    corrected = ranking.scores - hubness
    order = np.lexsort((ranking.images, -corrected), axis=1)[:, :k]
    return Ranking(
        np.take_along_axis(ranking.scores, order, axis=1),
        np.take_along_axis(ranking.images, order, axis=1),
        np.take_along_axis(ranking.descriptors, order, axis=1),
    )


def _pieces(
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    for images, vectors in blocks:
        for start in range(0, len(images), _AT_ONCE):
            yield images[start : start + _AT_ONCE], vectors[start : start + _AT_ONCE]
