"""Hubness: how near a descriptor is to any other, by which the scores of a shortlist are corrected.

In spaces of many dimensions some vectors, the hubs, are among the nearest of most others (Radovanović, Nanopoulos and
Ivanović, JMLR 2010). Pictures without much in them are such hubs: they come before the right answer of many queries,
and the more so the more views a query has. A descriptor's hubness is its mean cosine with its 11th to 50th nearest
other image; what is left of a score when it is taken away tells more (as in the cross-domain similarity local scaling
of Conneau et al., ICLR 2018). The nearest are left out, so that groups of copies are not punished.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tfvlad.index._graph_cache import Graphs
from tfvlad.index.catalog import Block, Catalog, Snapshot
from tfvlad.index.graph import Graph
from tfvlad.index.ranking import Ranking, search_exactly, search_through_graph

_NEAREST, _FARTHEST = 10, 50  # of the neighbours that are averaged over
_ALWAYS = 4096  # descriptors up to which all are measured anew after every change
_GROWTH = 1.5  # of the number of descriptors, after which all are measured anew
_BLOCK = 1024


def measure_hubness(catalog: Catalog, graphs: Graphs, exact_up_to: int) -> None:
    """Measures the hubness of the descriptors that lack it, or of all, where their number has changed much.

    A catalog of format 1, which has no place for it, is left as it is. The caller must be the sole writer.

    Args:
      catalog: the catalog.
      graphs: lends its graph.
      exact_up_to: descriptors up to which neighbours are found by the exact search.
    """
    with catalog.read() as snapshot:
        if snapshot.format() < 2:
            return
        count, before = snapshot.count_descriptors(), snapshot.hubness_measured()
        changed = count != before and (count <= _ALWAYS or not before / _GROWTH < count < before * _GROWTH)
        lacking = snapshot.without_hubness()
        wanted = snapshot.descriptor_ids() if changed else lacking
    for start in range(0, len(wanted), _BLOCK):
        if count <= exact_up_to:
            with catalog.read() as snapshot:
                values = _measured(snapshot, wanted[start : start + _BLOCK], None)
        else:
            with graphs.current() as (graph, snapshot):
                values = _measured(snapshot, wanted[start : start + _BLOCK], graph)
        with catalog.write() as change:
            change.put_hubness(values, before)
    if changed:
        with catalog.write() as change:
            change.put_hubness({}, count)


def _measured(snapshot: Snapshot, descriptors: NDArray[np.int64], graph: Graph | None) -> dict[int, float]:
    block = snapshot.block_of(descriptors)
    if not len(block.vectors):
        return {}
    k = _FARTHEST + 1  # the nearest is its own image
    if graph is None:
        ranking = search_exactly(snapshot, block.vectors, k)
    else:
        ranking = search_through_graph(graph, snapshot, block.vectors, k)
    return dict(zip(block.descriptors.tolist(), hubness(ranking, block).tolist(), strict=True))


def hubness(ranking: Ranking, block: Block) -> NDArray[np.float64]:
    """The hubness of descriptors, (n,), from the ranking of all images for each; 0 with fewer than 50 other images."""
    others = (ranking.images >= 0) & (ranking.images != block.images[:, None])
    places = np.cumsum(others, axis=1)  # 1 for the nearest other image
    counted = others & (places > _NEAREST) & (places <= _FARTHEST)
    sums = np.where(counted, ranking.scores.astype(np.float64), 0).sum(axis=1)
    count = _FARTHEST - _NEAREST
    averages: NDArray[np.float64] = np.where(counted.sum(axis=1) == count, sums / count, 0.0)
    return averages
