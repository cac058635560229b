from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.catalogs import put_images, put_vectors
from helpers.fake_encoder import FakeEncoder, unit_vectors

from tfvlad.errors import ArtifactError
from tfvlad.index import Index
from tfvlad.index.catalog import Block
from tfvlad.index.hubness import hubness, measure_hubness
from tfvlad.index.ranking import Ranking
from tfvlad.index.reranking import Query

DIM = 16


def expected(vectors: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The obvious way: for each vector the mean of its 11th to 50th best image but its own."""
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    values = []
    for row, own in zip(cosines, images, strict=True):
        others = sorted((row[images == image].max() for image in np.unique(images) if image != own), reverse=True)
        values.append(np.mean(others[10:50]) if len(others) >= 50 else 0)
    return np.array(values)


def measured(index: Index) -> np.ndarray:
    with index._catalog.read() as snapshot:
        return snapshot.hubness_of(snapshot.descriptor_ids())


@pytest.mark.parametrize("count", [3, 50, 51, 60, 200])
def test_it_is_the_mean_of_the_neighbours(tmp_path: Path, count: int) -> None:
    images = np.arange(count) // 2 if count > 100 else np.arange(count)
    vectors = unit_vectors(count, DIM)
    with Index.create(tmp_path / "i", FakeEncoder(dim=DIM)) as index:
        put_images(index._catalog, images, vectors)
        measure_hubness(index._catalog, index._graphs, 1000)
        assert np.allclose(measured(index), expected(vectors, images), atol=1e-5)


def test_the_graph_gives_nearly_the_same(tmp_path: Path) -> None:
    vectors = unit_vectors(1500, DIM)
    with Index.create(tmp_path / "i", FakeEncoder(dim=DIM)) as index:
        put_vectors(str(tmp_path / "i"), vectors)
        measure_hubness(index._catalog, index._graphs, 1000)
        assert np.abs(measured(index) - expected(vectors, np.arange(1500))).max() < 0.02


def test_what_is_new_is_measured_and_all_of_it_when_much_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfvlad.index.hubness._ALWAYS", 10)
    vectors = unit_vectors(200, DIM)
    with Index.create(tmp_path / "i", FakeEncoder(dim=DIM)) as index:
        put_images(index._catalog, np.arange(100), vectors[:100])
        with index._catalog.read() as snapshot:
            assert len(snapshot.without_hubness()) == 100
        measure_hubness(index._catalog, index._graphs, 1000)
        before = measured(index)
        put_images(index._catalog, np.arange(100, 120), vectors[100:120])
        assert measured(index)[110] == pytest.approx(before.mean())  # until it is measured
        measure_hubness(index._catalog, index._graphs, 1000)
        assert np.array_equal(measured(index)[:100], before)
        assert measured(index)[110] != pytest.approx(before.mean())
        put_images(index._catalog, np.arange(120, 200), vectors[120:])
        measure_hubness(index._catalog, index._graphs, 1000)
        assert np.allclose(measured(index), expected(vectors, np.arange(200)), atol=1e-5)


def test_a_hub_loses_what_it_has_of_everything(tmp_path: Path) -> None:
    """Sixty images lie around the hub. A query near one of them is nearer still to the hub."""
    generator = np.random.default_rng(0)
    around = generator.normal(size=(60, DIM))
    around[:, 0] = 2 * np.linalg.norm(around[:, 1:], axis=1)
    vectors = np.concatenate([np.eye(DIM)[:1], around / np.linalg.norm(around, axis=1, keepdims=True)]).astype(
        np.float32
    )
    query = vectors[7] + 2 * vectors[0]
    query /= np.linalg.norm(query)
    with Index.create(tmp_path / "i", FakeEncoder(dim=DIM)) as index:
        put_images(index._catalog, np.arange(61), vectors)
        measure_hubness(index._catalog, index._graphs, 1000)
        [plain] = index._searcher.find([Query(query[None])], 2, exact=True)
        [corrected] = index._searcher.find([Query(query[None])], 2, exact=True, correct=True)
        assert [hit.id for hit in plain] == [1, 8]  # the hub is image 1
        assert corrected[0].id == 8
        assert corrected[0].score == plain[1].score  # it stays the cosine


def test_hubness_from_somebody_who_means_harm(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i", FakeEncoder(dim=DIM)) as index:
        put_images(index._catalog, np.arange(5), unit_vectors(5, DIM))
        measure_hubness(index._catalog, index._graphs, 1000)
        with index._catalog.write() as change:
            change._connection.execute("UPDATE hubness SET value = 'text'")
        with pytest.raises(ArtifactError, match="hubness that is no number"):
            measured(index)
        with index._catalog.write() as change:
            change._connection.execute("UPDATE hubness SET value = 9e999")
        assert (measured(index) <= 1).all()


def test_by_hand() -> None:
    images = np.arange(52)[None]
    scores = np.linspace(1, 0.4, 52, dtype=np.float32)[None]
    block = Block(np.array([1]), np.array([0]), np.zeros((1, 2), np.float32))
    # Behind itself and the ten nearest others, forty count; the last does not.
    assert hubness(Ranking(scores, images, images), block) == pytest.approx([scores[0, 11:51].mean()])
    few = Ranking(scores[:, :50], images[:, :50], images[:, :50])
    assert hubness(few, block).tolist() == [0]
