from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_encoder import unit_vectors

from tfvlad.config import IndexConfig
from tfvlad.errors import ConfigError
from tfvlad.index.catalog.catalog import Catalog
from tfvlad.index.catalog.reading import Stamp, to_blob
from tfvlad.index.graph import Graph
from tfvlad.index.recall import queries_nearby, verify
from tfvlad.index.roots import Root
from tfvlad.index.search import search_approximately, search_exactly, unit_rows

DIM = 16


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.create(str(tmp_path), "abc", DIM, IndexConfig())
    yield opened
    opened.close()


def fill(catalog: Catalog, images: np.ndarray, vectors: np.ndarray) -> Graph:
    """Gives image i the vectors of the rows where `images` is i; descriptor ids follow the images."""
    with catalog.write() as change:
        root = change.put_root(Root(-1, "/photos", "../photos"))
        for image in np.unique(images):
            views = [(f"view{v}", to_blob(vectors[v])) for v in np.flatnonzero(images == image)]
            change.put_file(root, f"{image}.jpg", Stamp(1, 1), str(image).encode(), views)
    graph = Graph(DIM, IndexConfig())
    with catalog.read() as snapshot:
        for block in snapshot.blocks(1000):
            graph.add(block.descriptors, block.vectors)
    return graph


def test_both_searches_agree_on_random_vectors(catalog: Catalog) -> None:
    vectors = unit_vectors(3000, DIM)
    graph = fill(catalog, np.arange(3000), vectors)
    queries = unit_vectors(100, DIM, seed=1)
    with catalog.read() as snapshot:
        exact = search_exactly(snapshot, queries, 10)
        approximate = search_approximately(graph, snapshot, queries, 10)
    # The judge: every cosine, sorted; row i became image i + 1.
    assert np.array_equal(exact.images, np.argsort(-(queries @ vectors.T), axis=1)[:, :10] + 1)
    assert np.mean(exact.images == approximate.images) > 0.99
    same = exact.images == approximate.images
    assert np.allclose(exact.scores[same], approximate.scores[same], atol=1e-6)


def test_images_with_many_views_do_not_crowd_others_out(catalog: Catalog) -> None:
    # Image 1 has 50 views, all nearer to the query than the one view of each of the images 2 to 11.
    query = np.eye(DIM, dtype=np.float32)[:1]
    near = unit_rows(query + 0.01 * unit_vectors(50, DIM), DIM)
    far = unit_rows(query + 2.0 * unit_vectors(10, DIM, seed=1), DIM)
    vectors = np.concatenate([near, far])
    graph = fill(catalog, np.array([1] * 50 + list(range(2, 12))), vectors)
    scores = vectors @ query[0]
    expected = [1, *(np.argsort(-scores[50:]) + 2).tolist()]
    with catalog.read() as snapshot:
        for ranking in (search_exactly(snapshot, query, 5), search_approximately(graph, snapshot, query, 5)):
            assert ranking.images.tolist() == [expected[:5]]
            assert ranking.scores[0, 0] == pytest.approx(scores[:50].max())
        everything = search_approximately(graph, snapshot, query, 20)
        assert everything.images.tolist() == [expected + [-1] * 9]  # eleven images are all there are


def test_a_graph_that_cannot_answer_is_replaced_by_the_exact_search(catalog: Catalog) -> None:
    graph = fill(catalog, np.arange(20), unit_vectors(20, DIM))
    with catalog.write() as change:
        change.remove_files(np.arange(3, 21))
    graph.remove(np.arange(3, 21))
    with catalog.read() as snapshot:
        assert sorted(search_approximately(graph, snapshot, unit_vectors(1, DIM), 5).images.tolist()[0]) == [1, 2]


def test_verification_by_hand(catalog: Catalog) -> None:
    graph = fill(catalog, np.arange(40), unit_vectors(40, DIM))
    with catalog.read() as snapshot:
        whole = verify(graph, snapshot, k=5, target_recall=None, sample=1000, seed=0)
        assert (whole.recall, whole.k, whole.queries, whole.ef_search, whole.target_met) == (1.0, 5, 40, 100, True)
        # A graph that has lost 30 of 40 images finds every neighbour among the other 10 only.
        blind = Graph(DIM, IndexConfig())
        block = snapshot.block_of(np.arange(1, 11))
        blind.add(block.descriptors, block.vectors)
        part = verify(blind, snapshot, k=5, target_recall=0.99, sample=1000, seed=0)
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
        assert verify(graph, snapshot, k=5, target_recall=1.0, sample=10, seed=0).recall == 1.0


def test_verification_of_nothing(catalog: Catalog) -> None:
    with catalog.read() as snapshot:
        result = verify(Graph(DIM, IndexConfig()), snapshot, k=5, target_recall=0.99, sample=10, seed=0)
    assert (result.recall, result.queries, result.target_met) == (1.0, 0, True)


def test_the_smallest_ef_search_that_reaches_a_target(catalog: Catalog) -> None:
    vectors = unit_vectors(2000, DIM)
    fill(catalog, np.arange(2000), vectors)
    graph = Graph(DIM, IndexConfig(m=3, ef_construction=6))  # a poor one
    graph.add(np.arange(1, 2001), vectors)
    with catalog.read() as snapshot:

        def measured(ef_search: int) -> float:
            graph.ef_search = ef_search
            return verify(graph, snapshot, k=5, target_recall=None, sample=200, seed=0).recall

        chosen = verify(graph, snapshot, k=5, target_recall=0.95, sample=200, seed=0)
        assert graph.ef_search == IndexConfig().ef_search  # as it was
        assert chosen.target_met
        assert chosen.recall == measured(chosen.ef_search) >= 0.95
        assert chosen.ef_search > 5  # the least: k
        assert measured(chosen.ef_search - 1) < 0.95


def test_no_ef_search_reaches_a_target_that_is_too_high(catalog: Catalog) -> None:
    graph = fill(catalog, np.arange(40), unit_vectors(40, DIM))
    with catalog.read() as snapshot:
        result = verify(graph, snapshot, k=5, target_recall=1.01, sample=40, seed=0)
    assert (result.ef_search, result.target_met) == (40, False)  # the whole graph


def test_rows_are_brought_to_unit_length() -> None:
    assert np.allclose(unit_rows([[3, 4], [0, -1e-30]], 2), [[0.6, 0.8], [0, -1]])
    assert unit_rows(np.empty((0, 2)), 2).shape == (0, 2)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0, 3.0]], r"shape \(n, 2\), got \(1, 3\)"),
        ([1.0, 2.0], r"shape \(n, 2\), got \(2,\)"),
        ([[1.0, 0.0], [np.nan, 1.0]], "row 1"),
        ([[np.inf, 0.0]], "row 0"),
        ([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], "row 2"),
    ],
)
def test_rows_that_have_no_direction_are_refused(vectors: list[list[float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        unit_rows(vectors, 2)
