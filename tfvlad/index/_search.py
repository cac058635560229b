"""Search: from the descriptors of queries to hits, which are files.

Three steps, in `Searcher.find`: the images that the descriptors find are the shortlist, their neighbours and then a
re-ranker may put them in a better order, and each image becomes a hit for every file that shows it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import operator
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.errors import ConfigError
from tfvlad.images.views import WHOLE
from tfvlad.index._graph_cache import Graphs
from tfvlad.index._hits import Files, Hit, in_order
from tfvlad.index._synced_folders import Folders
from tfvlad.index.catalog import Block, Catalog, ChangedWhileReadError, Snapshot
from tfvlad.index.ranking import Ranking, best_images, search_exactly, search_through_graph, unit_rows
from tfvlad.index.reciprocal import reordered, shortlist_for
from tfvlad.index.reranking import Candidate, Query, Reranker

if TYPE_CHECKING:
    from tfvlad.images.sources import Source

# With fewer descriptors, or where more than a tenth of them is asked for, the exact search is as fast as the graph.
_FEW = 1000
_LARGE_SHARE = 10

# Where scores are corrected afterwards, so many times as many images as are wanted are ranked, but no more than that.
# For 301 photographs with 24 views each, a shortlist of 50 of 20,000 images had the right one for 0.983 of them; with 6
# times as many for 0.977, with 4 times for 0.970. Of 100,000 images it took 50 ms of CPU time; 30 and 18 ms with fewer.
_CORRECTED = 10
_MOST_CORRECTED = 1000

_POWER = 3.0  # of the cosines that weigh the images which expand a query (Radenovic, Tolias and Chum, PAMI 2019)
_EXPANDING = ("same", "likely")


class Searcher:
    """Searches one index; threads may share it."""

    def __init__(self, catalog: Catalog, graphs: Graphs, index_folder: str) -> None:
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
        """Finds the k best files for each query that has one view.

        Args:
          vectors: (n, dim) numbers, the queries' descriptors; they are L2-normalised here.
          k: the number of files to find.
          exact: whether to compare with every descriptor instead of searching through the graph.
          reranker: puts the shortlist in a better order; None leaves it in the order of the descriptors' scores.
          sources: the n queries' images, for the re-ranker; None if there are only descriptors.

        Returns:
          n lists of hits, best first; hits that are equally good are in the order of the ids.

        Raises:
          ConfigError: `vectors` has another shape, a value that is not finite, or a row of zeros; or k is less than 1.
        """
        rows = unit_rows(vectors, self._catalog.dim)
        images = [None] * len(rows) if sources is None else sources
        queries = [Query(row[None], source=source) for row, source in zip(rows, images, strict=True)]
        return self.find(queries, k, exact, reranker)

    def find(
        self,
        queries: Sequence[Query],
        k: int,
        exact: bool,
        reranker: Reranker | None = None,
        correct: bool = False,
        expand: int = 0,
        reciprocal: int = 0,
    ) -> list[list[Hit]]:
        """Finds the k best files for each query.

        Args:
          queries: what is searched for; all of them with the same number of views.
          k: the number of files to find.
          exact: whether to compare with every descriptor instead of searching through the graph.
          reranker: puts the shortlist in a better order; None leaves it as it is.
          correct: whether the shortlist is in the order of the scores minus hubness, see `tfvlad.index.hubness`.
          expand: images that expand the query for a second search (alpha query expansion); 0 for no second search.
          reciprocal: neighbours of each image by which the shortlist is re-ordered before the re-ranker sees it, see
            `tfvlad.index.reciprocal`; 0 leaves its order.

        Returns:
          A list of hits for each query, best first; hits that are equally good are in the order of the ids.

        Raises:
          ConfigError: k is less than 1.
        """
        k = operator.index(k)
        if k < 1:
            raise ConfigError(f"k must be 1 or more, got {k}")
        if not queries:
            return []
        depth = max(k, expand, reranker.depth if reranker else 0, shortlist_for(reciprocal) if reciprocal else 0)

        def rank(queries: Sequence[Query]) -> tuple[list[list[Candidate]], Files]:
            found, files = self._candidates(queries, depth, exact, correct)
            if reciprocal:
                found = [self._by_neighbours(candidates, reciprocal, exact) for candidates in found]
            return self._reranked(queries, found, reranker) if reranker else found, files

        def search() -> tuple[Sequence[Query], list[list[Candidate]], Files]:
            found, files = rank(queries)
            if not expand:
                return queries, found, files
            expanded = self._expanded(queries, found, expand)
            return expanded, *rank(expanded)

        try:
            queries, found, files = search()
        except ChangedWhileReadError:  # a writer has come; from now on there is its log to read
            queries, found, files = search()
        names = [[view.name for view in query.views] for query in queries]
        return [in_order(files, one, views, k) for one, views in zip(found, names, strict=True)]

    def _candidates(
        self, queries: Sequence[Query], depth: int, exact: bool, correct: bool
    ) -> tuple[list[list[Candidate]], Files]:
        """The `depth` best images of each query, best first, and their files; of one state of the catalog."""
        rows, views = np.concatenate([query.descriptors for query in queries]), len(queries[0].views)
        asked = max(depth, min(_CORRECTED * depth, _MOST_CORRECTED)) if correct else depth
        with self._shortlist(rows, asked, exact) as (snapshot, ranking):
            hubness = snapshot.hubness_of(ranking.descriptors) if correct else None
            merged, query_views, corrected = _merged(ranking, hubness, views, depth)
            files = self._files(snapshot, merged)
            names = snapshot.view_names(merged.descriptors[merged.descriptors >= 0])
        found = []
        for scores, images, descriptors, of_query, order in zip(
            merged.scores.tolist(),
            merged.images.tolist(),
            merged.descriptors.tolist(),
            query_views.tolist(),
            corrected.tolist(),
            strict=True,
        ):
            found.append(
                [
                    Candidate(
                        image,
                        score,
                        view=names.get(descriptor),
                        query_view=view,
                        corrected=value,
                        path=files[image][0][0] if image in files else "",
                    )
                    for score, image, descriptor, view, value in zip(
                        scores, images, descriptors, of_query, order, strict=True
                    )
                    if image >= 0
                ]
            )
        return found, files

    def _by_neighbours(self, candidates: list[Candidate], neighbours: int, exact: bool) -> list[Candidate]:
        """Re-orders one query's candidates by their reciprocal neighbours."""

        def describe(images: NDArray[np.int64]) -> Block:
            with self._catalog.read() as snapshot:
                return snapshot.view_of_images(images, WHOLE.name)

        def rank(vectors: NDArray[np.float32], k: int) -> Ranking:
            with self._shortlist(vectors, k, exact) as (_, ranking):
                return ranking

        return reordered(candidates, neighbours, describe, rank)

    def _reranked(
        self, queries: Sequence[Query], found: list[list[Candidate]], reranker: Reranker
    ) -> list[list[Candidate]]:
        """The graph is free again by now, so that other searches go on meanwhile."""
        reranked = []
        for query, candidates in zip(queries, found, strict=True):
            with self._catalog.read() as snapshot:
                reranked.append(reranker.rerank(query, candidates, snapshot))
        return reranked

    def _expanded(self, queries: Sequence[Query], found: list[list[Candidate]], expand: int) -> list[Query]:
        """Adds to each of a query's descriptors those of the best images, weighted by their scores."""
        expanded = []
        for query, candidates in zip(queries, found, strict=True):
            verified = any(one.verdict is not None for one in candidates)
            best = [one for one in candidates if not verified or one.verdict in _EXPANDING][:expand]
            descriptors = query.descriptors
            if best:
                by_view: dict[str, list[Candidate]] = defaultdict(list)
                for one in best:
                    by_view[one.view or ""].append(one)
                with self._catalog.read() as snapshot:
                    for view, ones in by_view.items():
                        weights = {one.image: max(one.score, 0.0) ** _POWER for one in ones}
                        block = snapshot.view_of_images(np.array(list(weights), np.int64), view)
                        weight = np.array([weights[image] for image in block.images.tolist()], np.float32)
                        descriptors = descriptors + weight @ block.vectors  # (n,) @ (n, dim) -> (dim,), for each view
                descriptors = unit_rows(descriptors, self._catalog.dim)
            expanded.append(dataclasses.replace(query, descriptors=descriptors))
        return expanded

    @contextlib.contextmanager
    def _shortlist(self, queries: NDArray[np.float32], k: int, exact: bool) -> Iterator[tuple[Snapshot, Ranking]]:
        """Ranks the k best images of each row, and gives the state of the catalog that was searched as well."""
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


def _merged(
    ranking: Ranking, hubness: NDArray[np.float32] | None, views: int, depth: int
) -> tuple[Ranking, NDArray[np.int64], NDArray[np.float32]]:
    """Makes one ranking for each query of those of its views.

    Args:
      ranking: (n * views, m), the views of a query one after the other.
      hubness: (n * views, m), what the order is corrected by; None for no correction.
      views: of each query.
      depth: images that are kept.

    Returns:
      A ranking (n, at most `depth`) with uncorrected scores; which view of the query each is from; and the corrected
      scores, by which it is ordered.
    """
    if views == 1 and hubness is None:
        return ranking, np.zeros(ranking.images.shape, np.int64), ranking.scores
    count, width = len(ranking.scores) // views, ranking.scores.shape[1]
    shape = count, views * width
    scores, images = ranking.scores.reshape(shape), ranking.images.reshape(shape)
    corrected = scores if hubness is None else scores - hubness.reshape(shape)
    best = best_images(corrected, images, depth, np.broadcast_to(np.arange(views * width), shape))
    there, columns = best.images >= 0, np.maximum(best.descriptors, 0)
    uncorrected = np.where(there, np.take_along_axis(scores, columns, axis=1), np.float32(-np.inf))
    descriptors = np.where(there, np.take_along_axis(ranking.descriptors.reshape(shape), columns, axis=1), -1)
    return Ranking(uncorrected, best.images, descriptors), columns // max(width, 1), best.scores
