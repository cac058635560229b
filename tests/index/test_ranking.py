from __future__ import annotations

import numpy as np
from helpers.fake_encoder import unit_vectors
from hypothesis import given
from hypothesis import strategies as st

from tfvlad.index.ranking import best_images, block_size, rank_exactly


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
