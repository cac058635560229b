from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.catalogs import graph_of, put_images
from helpers.fake_encoder import unit_vectors
from hypothesis import given
from hypothesis import strategies as st

from tfvlad.config import IndexConfig
from tfvlad.errors import ConfigError
from tfvlad.index.catalog import Catalog
from tfvlad.index.graph import Graph
from tfvlad.index.ranking import (
    best_images,
    block_size,
    rank_exactly,
    search_exactly,
    search_through_graph,
    unit_rows,
)

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


def test_the_best_view_of_an_image_is_its_score() -> None:
    # Image 7 has views 0.2 and 0.9, image 3 has 0.5, image 5 has 0.1: 7 (0.9), 3 (0.5), 5 (0.1).
    ranking = best_images(np.float32([[0.2, 0.5, 0.9, 0.1]]), np.array([[7, 3, 7, 5]]), k=3)
    assert ranking.images.tolist() == [[7, 3, 5]]
    assert np.allclose(ranking.scores, [[0.9, 0.5, 0.1]])


def test_equal_scores_go_by_lower_id_and_missing_images_come_last() -> None:
    ranking = best_images(np.float32([[0.5, 0.5, 0.5, 0.4]]), np.array([[9, 2, 9, -1]]), k=4)
    assert ranking.images.tolist() == [[2, 9, -1, -1]]
    assert ranking.scores.tolist() == [[0.5, 0.5, -np.inf, -np.inf]]


def test_exact_ranking_by_hand() -> None:
    # Query (1, 0): image 1 scores 0, image 2 scores 1 and 0.6, image 3 scores 0.8.
    blocks = [
        (np.array([1, 2]), np.float32([[0, 1], [0.6, 0.8]])),
        (np.array([3, 2]), np.float32([[0.8, 0.6], [1, 0]])),
    ]
    ranking = rank_exactly(np.float32([[1, 0]]), blocks, k=5)
    assert ranking.images.tolist() == [[2, 3, 1]]
    assert np.allclose(ranking.scores, [[1, 0.8, 0]])


def test_exact_ranking_of_nothing() -> None:
    assert rank_exactly(np.float32([[1, 0]]), [], k=5).images.shape == (1, 0)


def test_equal_vectors_tie_wherever_they_stand() -> None:
    vectors = np.repeat(unit_vectors(1, 33), 1001, axis=0)
    blocks = [(np.arange(1001), vectors)]
    ranking = rank_exactly(unit_vectors(3, 33, seed=1), blocks, k=10)
    assert ranking.images.tolist() == [list(range(10))] * 3


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 3)), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(1, 9),
)
def test_exact_ranking_equals_the_obvious_one(views: list[tuple[int, int]], k: int, size: int) -> None:
    # One dimension: a view's score is its only component times the query's, 1 and -1 here.
    images = np.array([image for image, _ in views])
    vectors = np.float32([[value] for _, value in views])
    blocks = [(images[i : i + size], vectors[i : i + size]) for i in range(0, len(views), size)]
    ranking = rank_exactly(np.float32([[1], [-1]]), blocks, k)
    for sign, found, scores in zip((1, -1), ranking.images, ranking.scores, strict=True):
        best = {image: max(sign * value for owner, value in views if owner == image) for image, _ in views}
        expected = sorted(best, key=lambda image: (-best[image], image))[:k]
        assert found.tolist() == expected
        assert scores.tolist() == [best[image] for image in expected]


def test_blocks_shrink_with_queries_and_dimensions() -> None:
    assert block_size(1, 128) == 1 << 11
    assert block_size(1 << 16, 128) == 1 << 6
    assert block_size(1, 1 << 30) == 1


def test_both_searches_agree_on_random_vectors(catalog: Catalog) -> None:
    vectors = unit_vectors(3000, DIM)
    graph = fill(catalog, np.arange(3000), vectors)
    queries = unit_vectors(100, DIM, seed=1)
    with catalog.read() as snapshot:
        exact = search_exactly(snapshot, queries, 10)
        approximate = search_through_graph(graph, snapshot, queries, 10)
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
        for ranking in (search_exactly(snapshot, query, 5), search_through_graph(graph, snapshot, query, 5)):
            assert ranking.images.tolist() == [expected[:5]]
            assert ranking.scores[0, 0] == pytest.approx(scores[:50].max())
        everything = search_through_graph(graph, snapshot, query, 20)
        assert everything.images.tolist() == [expected + [-1] * 9]  # eleven images are all there are


def test_a_graph_that_cannot_answer_is_replaced_by_the_exact_search(catalog: Catalog) -> None:
    graph = fill(catalog, np.arange(20), unit_vectors(20, DIM))
    with catalog.write() as change:
        change.remove_files(np.arange(3, 21))
    graph.remove(np.arange(3, 21))
    with catalog.read() as snapshot:
        assert sorted(search_through_graph(graph, snapshot, unit_vectors(1, DIM), 5).images.tolist()[0]) == [1, 2]


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
