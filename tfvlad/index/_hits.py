"""Search: from the descriptors of queries to hits, which are files.

Three steps, in `Searcher.search`: the descriptors' best images are the shortlist, a re-ranker may put them in a better
order, and each image becomes a hit for every file that shows it.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.errors import ConfigError
from tfvlad.index._folders import Folders
from tfvlad.index._graph_cache import GraphCache
from tfvlad.index.catalog import Catalog, Snapshot
from tfvlad.index.ranking import Ranking, search_exactly, search_through_graph, unit_rows
from tfvlad.index.reranking import Candidate, Query, Reranker

if TYPE_CHECKING:
    from tfvlad.images.loading import Source

# With fewer descriptors, or where more than a tenth of them is asked for, the exact search is as fast as the graph.
_FEW = 1000
_LARGE_SHARE = 10

Files = Mapping[int, list[tuple[str, int]]]  # image -> (full path, id) of each file that shows it


class Hit(NamedTuple):
    """A file that a search found. Files with equal bytes are hits of their own, with equal scores.

    Attributes:
      path: the full path of the file, in its folder as that is located now.
      score: the cosine of the query's descriptor and the nearest of the image's descriptors.
      id: the file's id, which stays the same as long as the file is in the index.

    Example:
      ``for hit in index.search("query.jpg", k=5)[0]: print(hit.score, hit.path)``
    """

    path: str
    score: float
    id: int


class Searcher:
    """Searches one index; threads may share it."""

    def __init__(self, catalog: Catalog, graphs: GraphCache, index_folder: str) -> None:
        self._catalog = catalog
        self._graphs = graphs
        self._index_folder = index_folder

    def search(
        self,
        vectors: ArrayLike,
        k: int,
        exact: bool,
        reranker: Reranker | None = None,
        sources: Sequence[Source] | None = None,
    ) -> list[list[Hit]]:
        """Finds the k best files for each query.

        Args:
          vectors: (n, dim) numbers, the queries' descriptors; they are L2-normalised here.
          k: the number of files to find.
          exact: whether to compare with every descriptor instead of searching through the graph.
          reranker: puts the shortlist in a better order; None leaves it in the order of the descriptors' scores.
          sources: the n queries' images, for the re-ranker; None if there are only descriptors.

        Returns:
          n lists of hits, best first; hits that are equally good are in the order of the ids.

        Raises:
          ConfigError: `vectors` has another shape, a value that is not finite, or a row of zeros; or k is negative.
        """
        queries = unit_rows(vectors, self._catalog.dim)
        k = operator.index(k)
        if k < 0:
            raise ConfigError(f"k must be 0 or more, got {k}")
        if k == 0 or not len(queries):
            return [[] for _ in queries]
        depth = k if reranker is None else max(k, reranker.depth)
        with self._shortlist(queries, depth, exact) as (snapshot, shortlist):
            files = self._files(snapshot, shortlist)
            rows = zip(shortlist.scores.tolist(), shortlist.images.tolist(), strict=True)
            if reranker is None:
                return [_by_score(files, scores, images)[:k] for scores, images in rows]
            found = []
            images_of_queries = [None] * len(queries) if sources is None else sources
            for query, source, row in zip(queries, images_of_queries, rows, strict=True):
                candidates = reranker.rerank(Query(query, source), _candidates(*row), snapshot)
                found.append(_in_order(files, candidates)[:k])
            return found

    @contextlib.contextmanager
    def _shortlist(self, queries: NDArray[np.float32], k: int, exact: bool) -> Iterator[tuple[Snapshot, Ranking]]:
        """Ranks the k best images of each query, and gives the state of the catalog that was searched as well."""
        if exact or not self._graphs.holds(enough_for_graph(k)):
            with self._catalog.read() as snapshot:
                if exact or not snapshot.has_descriptors(enough_for_graph(k)):
                    yield snapshot, search_exactly(snapshot, queries, k)
                    return
        with self._graphs.current() as (graph, snapshot):
            yield snapshot, search_through_graph(graph, snapshot, queries, k)

    def _files(self, snapshot: Snapshot, ranking: Ranking) -> Files:
        folders = Folders(snapshot.roots(), self._index_folder, snapshot.path)
        files = defaultdict[int, list[tuple[str, int]]](list)
        for image, file, root, path in snapshot.files_of(np.unique(ranking.images[ranking.images >= 0])):
            files[image].append((folders.full_path(root, path), file))
        return files


def enough_for_graph(k: int) -> int:
    """The number of descriptors from which on the graph is searched to find k of them."""
    return max(_FEW, _LARGE_SHARE * k + 1)


def _by_score(files: Files, scores: Sequence[float], images: Sequence[int]) -> list[Hit]:
    hits = [
        Hit(path, score, file)
        for score, image in zip(scores, images, strict=True)
        for path, file in files.get(image, ())
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _candidates(scores: Sequence[float], images: Sequence[int]) -> list[Candidate]:
    return [Candidate(image, score) for score, image in zip(scores, images, strict=True) if image >= 0]


def _in_order(files: Files, candidates: Sequence[Candidate]) -> list[Hit]:
    """The candidates' files; those of neighbours that are equally good are in the order of their ids."""
    hits: list[Hit] = []
    for _, equal in itertools.groupby(candidates, key=lambda one: one[1:]):
        group = [Hit(path, one.score, file) for one in equal for path, file in files.get(one.image, ())]
        hits += sorted(group, key=lambda hit: hit.id)
    return hits
