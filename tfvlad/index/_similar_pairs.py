"""Pairs of images whose descriptors are near each other: the candidates among which copies of one picture are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfvlad.errors import ConfigError
from tfvlad.images.views import WHOLE, View
from tfvlad.index._graph_cache import Graphs
from tfvlad.index.catalog import Block, Catalog, Ids, Snapshot
from tfvlad.index.graph import Graph
from tfvlad.index.ranking import Ranking, search_exactly, search_through_graph

_BLOCK = 1024  # images whose neighbours are looked up at once


class Neighbour(NamedTuple):
    """An image that may show the same picture as another one.

    Attributes:
      image: its id.
      score: the cosine of the two of their descriptors that fit best.
      guess: (3, 3), about how the other one lies in it, in fractions of widths and heights.
    """

    image: int
    score: float
    guess: NDArray[np.float64]


class SimilarPairs:
    """Pairs of images, each once.

    Args:
      images: (n, 2) int64 ids.
      scores: (n,) cosines.
      views: names of views.
      view: (n,) int64, a position in `views`: the view of the second that is as the whole picture of the first.
    """

    def __init__(self, images: Ids, scores: NDArray[np.float64], views: Sequence[str], view: Ids) -> None:
        self._to_picture = [_to_picture(name) for name in views]
        both = np.concatenate([images, images[:, ::-1]])
        self._order = np.lexsort((both[:, 1], both[:, 0]))
        self._images = both[self._order]
        self._scores, self._view = scores, view

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self._scores)

    def centrality(self) -> list[int]:
        """The images of the pairs; those that are most like their neighbours first."""
        images, places = np.unique(self._images[:, 0], return_inverse=True)
        sums = np.bincount(places, self._scores[self._order % max(len(self), 1)], len(images))
        return [int(image) for image in images[np.lexsort((images, -sums))]]

    def of(self, image: int) -> list[Neighbour]:
        """The images that are in a pair with this one, by id."""
        start, stop = np.searchsorted(self._images[:, 0], [image, image + 1])
        found = []
        for place in range(start, stop):
            pair = int(self._order[place]) % len(self)
            guess = self._to_picture[self._view[pair]]
            if self._order[place] >= len(self):
                guess = np.linalg.inv(guess).astype(np.float64)
            found.append(Neighbour(int(self._images[place, 1]), float(self._scores[pair]), guess))
        return found


def similar_pairs(
    catalog: Catalog,
    graphs: Graphs,
    exact_up_to: int,
    neighbours: int,
    least: float,
    advance: Callable[[int], object],
) -> SimilarPairs:
    """Finds the pairs of images of which one is among the nearest of the other.

    The whole picture of each image is searched for among all views of all images, through the graph: work and memory
    are linear in the number of images.

    Args:
      catalog: the catalog.
      graphs: lends its graph.
      exact_up_to: descriptors up to which neighbours are found by the exact search.
      neighbours: how many of each image are looked at.
      least: cosine that a pair must have.
      advance: told how many images have been searched for, as they are.
    """
    with catalog.read() as snapshot:
        images = snapshot.image_ids()
        exactly = snapshot.count_descriptors() <= exact_up_to
    names: dict[str, int] = {WHOLE.name: 0}
    found: list[NDArray[np.float64]] = []
    for start in range(0, len(images), _BLOCK):
        some = images[start : start + _BLOCK]
        if exactly:
            with catalog.read() as snapshot:
                found.append(_near(snapshot, None, some, neighbours, least, names))
        else:
            with graphs.current() as (graph, snapshot):
                found.append(_near(snapshot, graph, some, neighbours, least, names))
        advance(len(some))
    return _each_once(np.concatenate([np.empty((0, 4)), *found]), list(names))


def _near(
    snapshot: Snapshot, graph: Graph | None, images: Ids, neighbours: int, least: float, names: dict[str, int]
) -> NDArray[np.float64]:
    """The neighbours of some images: (n, 4) of the image, its neighbour, their cosine, and the neighbour's view."""
    block: Block = snapshot.view_of_images(images, WHOLE.name)
    if not len(block.vectors):
        return np.empty((0, 4))
    k = neighbours + 1  # the nearest is the image itself
    ranking: Ranking = (
        search_exactly(snapshot, block.vectors, k)
        if graph is None
        else search_through_graph(graph, snapshot, block.vectors, k)
    )
    rows, columns = np.nonzero(
        (ranking.images >= 0) & (ranking.images != block.images[:, None]) & (ranking.scores >= least)
    )
    descriptors = ranking.descriptors[rows, columns]
    of = snapshot.view_names(descriptors)
    views = [names.setdefault(of.get(descriptor, WHOLE.name), len(names)) for descriptor in descriptors.tolist()]
    return np.stack(
        [
            block.images[rows].astype(np.float64),  # ids are far below 2**53
            ranking.images[rows, columns].astype(np.float64),
            ranking.scores[rows, columns].astype(np.float64),
            np.array(views, np.float64),
        ],
        axis=1,
    )


def _each_once(found: NDArray[np.float64], views: list[str]) -> SimilarPairs:
    """Keeps each pair once: as it was found with the higher score; of equal scores, from the image of the lower id."""
    asked, other, scores, view = found.T
    low, high = np.minimum(asked, other), np.maximum(asked, other)
    order = np.lexsort((asked, -scores, high, low))
    low, high = low[order], high[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    kept = order[first]
    return SimilarPairs(found[kept, :2].astype(np.int64), scores[kept], views, view[kept].astype(np.int64))


def _to_picture(view: str) -> NDArray[np.float64]:
    """(3, 3), from the fractions of a view to those of its picture, which is taken to be square.

    That is exact where the view is not turned, or by quarter turns; otherwise the pixels have to mend it.
    """
    try:
        matrix = View.from_name(view).to_picture((1 << 16, 1 << 16))
    except ConfigError:  # a view of a later release
        matrix = WHOLE.to_picture((1 << 16, 1 << 16))
    return np.concatenate([matrix, [[0.0, 0.0, 1.0]]])
