from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.catalogs import without_hnswlib
from helpers.fake_encoder import unit_vectors

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index.graph import FILE_NAMES, Graph, GraphBackend
from tfvlad.index.graph_backends import backend_of, installed_backend


@pytest.fixture(params=["hnswlib", "voyager"])
def backend(request: pytest.FixtureRequest) -> GraphBackend:
    pytest.importorskip(request.param, reason=f"needs {request.param}")
    return backend_of(request.param)


def make(backend: GraphBackend, n: int, dim: int = 8) -> Graph:
    graph = backend.make(dim, IndexConfig(), 1)
    graph.add(np.arange(n) + 1, unit_vectors(n, dim))
    return graph


def test_scores_are_cosines_best_first(backend: GraphBackend) -> None:
    graph = backend.make(2, IndexConfig(), 1)
    graph.add(np.array([5, 9]), np.float32([[1, 0], [0.6, 0.8]]))
    found = graph.search(np.float32([[1, 0], [0, 1]]), k=2)
    assert found is not None
    scores, labels = found
    assert labels.tolist() == [[5, 9], [9, 5]]
    assert np.allclose(scores, [[1, 0.6], [0.8, 0]])


def test_it_grows_as_vectors_come(backend: GraphBackend) -> None:
    graph = backend.make(8, IndexConfig(), 1)
    for start in range(0, 100, 7):
        graph.add(np.arange(start, start + 7), unit_vectors(7, 8, seed=start))
    graph.add(np.empty(0, np.int64), np.empty((0, 8), np.float32))
    assert len(graph) == 105
    found = graph.search(unit_vectors(7, 8, seed=49), k=1)
    assert found is not None
    assert found[1].ravel().tolist() == list(range(49, 56))


def test_k_may_be_above_ef_search_and_take_everything(backend: GraphBackend) -> None:
    graph = make(backend, 300)
    found = graph.search(unit_vectors(2, 8, seed=1), k=300)
    assert found is not None
    assert [len(set(row)) for row in found[1].tolist()] == [300, 300]


def test_removed_labels_are_never_found(backend: GraphBackend) -> None:
    graph = make(backend, 50)
    graph.remove(np.arange(1, 50, 2))
    assert (len(graph), graph.dead) == (25, 25)
    found = graph.search(unit_vectors(50, 8), k=25)
    assert found is not None
    assert np.all(found[1] % 2 == 0)


def test_it_says_when_it_cannot_find_k(backend: GraphBackend) -> None:
    graph = make(backend, 5)
    graph.remove(np.array([2]))
    assert graph.search(unit_vectors(1, 8), k=5) is None


def test_one_thread_makes_equal_graphs(backend: GraphBackend, tmp_path: Path) -> None:
    assert make(backend, 1000).save(str(tmp_path / "a")) == make(backend, 1000).save(str(tmp_path / "b"))


def test_threads_are_chosen_by_all_vectors_that_come(backend: GraphBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, threads = backend.make(8, IndexConfig(), 30), []

    class Watched:
        element_count, num_elements, max_elements = 0, 0, 30

        def add_items(self, vectors: object, labels: object, num_threads: int) -> None:
            threads.append(num_threads)

    monkeypatch.setattr(graph, "_index", Watched())
    for total in (0, 1 << 16, 1 << 17):  # of 8 dimensions
        graph.add(np.arange(10), unit_vectors(10, 8), total)
    assert threads == [1, 1, -1]


def test_save_and_load(backend: GraphBackend, tmp_path: Path) -> None:
    graph = make(backend, 400)
    graph.remove(np.array([1, 2, 3]))
    path = os.fsencode(tmp_path) + b"/caf\xe9.graph"  # the libraries themselves take UTF-8 only
    digest = graph.save(os.fsdecode(path))
    loaded = backend.load(os.fsdecode(path), 8, IndexConfig(), dead=3)
    assert len(loaded) == 397
    queries = unit_vectors(20, 8, seed=1)
    before, after = graph.search(queries, 10), loaded.search(queries, 10)
    assert before is not None
    assert after is not None
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    loaded.add(np.array([1000]), queries[:1])
    found = loaded.search(queries[:1], 1)
    assert found is not None
    assert found[1].tolist() == [[1000]]
    assert len(digest) == 64


def test_a_file_that_cannot_be_written_is_noticed(backend: GraphBackend, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be written: No such file or directory"):
        make(backend, 3).save(str(tmp_path / "nowhere" / "graph"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_disk_is_noticed(backend: GraphBackend) -> None:
    with pytest.raises(ArtifactError, match=r"written whole|No space left"):
        make(backend, 3).save("/dev/full")


def test_a_file_that_the_library_does_not_know_is_refused(backend: GraphBackend, tmp_path: Path) -> None:
    (tmp_path / "graph").write_bytes(b"x" * 100)
    with pytest.raises(ArtifactError, match=f"is not for this {backend.library}"):
        backend.load(str(tmp_path / "graph"), 8, IndexConfig(), dead=0)


def test_hnswlib_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hnswlib", reason="needs hnswlib")
    assert installed_backend().library == "hnswlib"
    without_hnswlib(monkeypatch)
    assert installed_backend().library == "voyager"


def test_each_backend_has_its_own_file(backend: GraphBackend) -> None:
    assert backend.file_name in FILE_NAMES
    assert len(set(FILE_NAMES)) == 2
