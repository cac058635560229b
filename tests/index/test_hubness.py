"""Hubness by hand, and what it does to a shortlist."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.fake_encoder import unit_vectors

from tfvlad.index._hubness import COUNTED, FEWEST_IMAGES, NEAREST, hubness, measure_hubness, without_hubness
from tfvlad.index.ranking import Ranking, rank_exactly


def test_the_nearest_and_the_image_itself_are_not_counted() -> None:
    # Image 7 finds itself (1), ten copies (1) and forty others (0.25).
    images = np.arange(100, 151)
    images[3] = 7
    scores = np.where(np.arange(51) < NEAREST + 1, 1, 0.25).astype(np.float32)
    found = hubness(Ranking(scores[None], images[None], images[None]), np.array([7]))
    assert found.tolist() == [0.25]


def test_where_fewer_images_were_found_those_are_counted() -> None:
    scores = np.array([[0.9] * 11 + [0.5, 0.3] + [-np.inf] * 3], np.float32)
    images = np.array([[*range(13), -1, -1, -1]])
    assert hubness(Ranking(scores, images, images), np.array([0]))[0] == pytest.approx(0.4)
    assert hubness(Ranking(scores[:, :5], images[:, :5], images[:, :5]), np.array([0])).tolist() == [0]


def test_it_is_measured_through_a_search() -> None:
    vectors, images = unit_vectors(300, 16), np.arange(1000, 1300)
    vectors[5] = 0.2 * vectors[5] + vectors.mean(axis=0) * 5  # close to the middle of all: a hub
    vectors[5] /= np.linalg.norm(vectors[5])

    def search(queries: np.ndarray, k: int) -> Ranking:
        return rank_exactly(queries, [(images, vectors)], k)

    found = measure_hubness([(images[:200], vectors[:200]), (images[200:], vectors[200:])], search, 300)
    cosines = vectors.astype(np.float64) @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    expected = -np.sort(-cosines, axis=1)[:, NEAREST : NEAREST + COUNTED]
    assert list(found) == images.tolist()
    np.testing.assert_allclose(list(found.values()), expected.mean(axis=1), atol=1e-6)
    one = measure_hubness([(images[7:8], vectors[7:8])], search, 300)
    assert one == {1007: pytest.approx(found[1007], abs=1e-6)}


def test_a_view_counts_with_the_largest() -> None:
    vectors = unit_vectors(200, 8)
    images = np.repeat(np.arange(100), 2)

    def search(queries: np.ndarray, k: int) -> Ranking:
        return rank_exactly(queries, [(images, vectors)], k)

    found = measure_hubness([(images, vectors)], search, 100)
    each = hubness(search(vectors, NEAREST + COUNTED + 1), images)
    np.testing.assert_allclose(list(found.values()), each.reshape(100, 2).max(axis=1))


def test_small_indexes_are_not_corrected() -> None:
    def unneeded(queries: np.ndarray, k: int) -> Ranking:
        raise AssertionError

    vectors = unit_vectors(3, 8)
    assert measure_hubness([(np.arange(3), vectors)], unneeded, FEWEST_IMAGES - 1) == {0: 0.0, 1: 0.0, 2: 0.0}
    assert measure_hubness([], unneeded, 1000) == {}


def test_a_shortlist_without_hubs() -> None:
    images = np.array([[4, 2, 9, -1]])
    ranking = Ranking(np.array([[0.75, 0.5, 0.25, -np.inf]], np.float32), images, images * 10)
    found = without_hubness(ranking, np.array([[0.7, 0.1, 0.1, 0.0]], np.float32), 3)
    assert found.images.tolist() == [[2, 9, 4]]  # 0.4, 0.15, 0.05
    assert found.scores[0].tolist() == pytest.approx([0.5, 0.25, 0.75])
    assert found.descriptors.tolist() == [[20, 90, 40]]
    tied = without_hubness(ranking, np.array([[0.5, 0.25, 0.125, 0.0]], np.float32), 4)
    assert tied.images.tolist() == [[2, 4, 9, -1]]
