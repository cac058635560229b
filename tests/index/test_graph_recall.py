"""How much of the exact result a graph finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.catalogs import graph_of, put_images
from helpers.fake_encoder import unit_vectors

from tfvlad.config import IndexConfig
from tfvlad.index._graph_recall import measure_graph_recall, queries_nearby
from tfvlad.index.catalog import Catalog
from tfvlad.index.graph import Graph
from tfvlad.index.graph_backends import installed_backend
from tfvlad.index.ranking import search_exactly

DIM = 16


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog of 16-dimensional descriptors."""
    opened = Catalog.create(str(tmp_path), "abc", DIM, IndexConfig())
    yield opened
    opened.close()


def fill(catalog: Catalog, images: np.ndarray, vectors: np.ndarray) -> Graph:
    put_images(catalog, images, vectors)
    return graph_of(catalog)


def test_verification_by_hand(catalog: Catalog) -> None:
    graph = fill(catalog, np.arange(40), unit_vectors(40, DIM))
    with catalog.read() as snapshot:
        whole = measure_graph_recall(graph, snapshot, k=5, target_recall=None, sample=1000, seed=0)
        assert (whole.recall, whole.k, whole.queries, whole.ef_search, whole.target_met) == (1.0, 5, 40, 100, True)
        # A graph that has lost 30 of 40 images finds every neighbour among the other 10 only.
        blind = installed_backend().make(DIM, IndexConfig(), 1)
        block = snapshot.block_of(np.arange(1, 11))
        blind.add(block.descriptors, block.vectors)
        part = measure_graph_recall(blind, snapshot, k=5, target_recall=0.99, sample=1000, seed=0)
        exact = search_exactly(snapshot, queries_nearby(snapshot, k=5, sample=1000, seed=0), 5).images
        assert part.recall == pytest.approx(np.count_nonzero(exact <= 10) / 200)
        assert not part.target_met


def test_queries_of_a_verification_are_as_far_as_the_kth_neighbour(catalog: Catalog) -> None:
    # Three images on the axes: to the nearest other, and to the second nearest, it is the square root of 2.
    fill(catalog, np.arange(3), np.eye(DIM, dtype=np.float32)[:3])
    with catalog.read() as snapshot:
        for k, queries in ((1, 3), (2, 2), (9, 3)):
            vectors = queries_nearby(snapshot, k, queries, seed=0)
            assert vectors.shape == (queries, DIM)
            # x + sqrt(2) u, u nearly at a right angle to x, has the length sqrt(3): the cosine is about 1 / sqrt(3).
            assert np.allclose(vectors[:, :3].max(axis=1), 3**-0.5, atol=0.25)
            assert np.array_equal(vectors, queries_nearby(snapshot, k, queries, seed=0))
        assert queries_nearby(snapshot, 1, 0, seed=0).shape == (0, DIM)


def test_verification_counts_an_equally_near_image(catalog: Catalog) -> None:
    # 30 equal images: whichever 5 the graph finds, they are as near as any other.
    graph = fill(catalog, np.arange(30), np.repeat(unit_vectors(1, DIM), 30, axis=0))
    with catalog.read() as snapshot:
        assert measure_graph_recall(graph, snapshot, k=5, target_recall=1.0, sample=10, seed=0).recall == 1.0


def test_verification_of_nothing(catalog: Catalog) -> None:
    with catalog.read() as snapshot:
        result = measure_graph_recall(
            installed_backend().make(DIM, IndexConfig(), 1), snapshot, k=5, target_recall=0.99, sample=10, seed=0
        )
    assert (result.recall, result.queries, result.target_met) == (1.0, 0, True)


def test_the_smallest_ef_search_that_reaches_a_target(catalog: Catalog) -> None:
    vectors = unit_vectors(2000, DIM)
    fill(catalog, np.arange(2000), vectors)
    graph = installed_backend().make(DIM, IndexConfig(m=3, ef_construction=6), 1)  # a poor one
    graph.add(np.arange(1, 2001), vectors)
    with catalog.read() as snapshot:

        def measured(ef_search: int) -> float:
            graph.ef_search = ef_search
            return measure_graph_recall(graph, snapshot, k=5, target_recall=None, sample=200, seed=0).recall

        chosen = measure_graph_recall(graph, snapshot, k=5, target_recall=0.95, sample=200, seed=0)
        assert graph.ef_search == IndexConfig().ef_search  # as it was
        assert chosen.target_met
        assert chosen.recall == measured(chosen.ef_search) >= 0.95
        assert chosen.ef_search > 5  # the least: k
        assert measured(chosen.ef_search - 1) < 0.95


def test_no_ef_search_reaches_a_target_that_is_too_high(catalog: Catalog) -> None:
    graph = fill(catalog, np.arange(40), unit_vectors(40, DIM))
    with catalog.read() as snapshot:
        result = measure_graph_recall(graph, snapshot, k=5, target_recall=1.01, sample=40, seed=0)
    assert (result.ef_search, result.target_met) == (40, False)  # the whole graph
