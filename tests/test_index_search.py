"""An index that is large enough for its graph to be used."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import FakeEncoder, unit_vectors

from tfvlad.catalog import Catalog
from tfvlad.config import IndexConfig
from tfvlad.errors import ConfigError
from tfvlad.index import Index
from tfvlad.roots import Root
from tfvlad.tables import Stamp, to_blob


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Index]:
    """3000 random descriptors: enough for the graph to be used."""
    with Index.create(tmp_path / "large.index", FakeEncoder(dim=16)) as made:
        put_vectors(made, unit_vectors(3000, 16))
        yield made


def put_vectors(index: Index, vectors: np.ndarray) -> None:
    catalog = Catalog(str(index._path))
    with catalog.write() as change:
        root = change.put_root(Root(-1, "/nowhere", "../nowhere"))
        for i, vector in enumerate(vectors):
            change.put_file(root, f"{i}.jpg", Stamp(1, 1), str(i).encode(), [("whole", to_blob(vector))])
    catalog.close()


def test_both_searches_find_the_same(large: Index) -> None:
    queries = unit_vectors(50, 16, seed=1)
    exact = large.search_descriptors(queries, k=10, exact=True)
    approximate = large.search_descriptors(queries, k=10)
    found = sum(len({hit.id for hit in a} & {hit.id for hit in b}) for a, b in zip(exact, approximate, strict=True))
    assert found >= 495
    assert [hits[0].path for hits in exact] == [f"/nowhere/{hits[0].id - 1}.jpg" for hits in exact]
    assert all(hits == sorted(hits, key=lambda hit: (-hit.score, hit.id)) for hits in exact + approximate)


def test_k_of_all_sizes(large: Index) -> None:
    query = unit_vectors(1, 16, seed=1)
    for k in (0, 1, 299, 300, 2999, 3000, 5000, sys.maxsize):
        for exact in (False, True):
            [hits] = large.search_descriptors(query, k=k, exact=exact)
            assert len({hit.id for hit in hits}) == min(k, 3000)
    with pytest.raises(ConfigError, match="k must be 0 or more, got -1"):
        large.search_descriptors(query, k=-1)


def test_verify(large: Index) -> None:
    result = large.verify(target_recall=0.95)
    assert (result.k, result.queries, result.target_recall) == (10, 500, 0.95)
    assert 0.95 <= result.recall <= 1
    assert result.target_met
    assert result == large.verify(target_recall=0.95)
    assert not large.verify(target_recall=1.01).target_met


def test_a_poor_graph_does_not_reach_the_target(tmp_path: Path) -> None:
    config = IndexConfig(m=2, ef_construction=2, ef_search=2)
    with Index.create(tmp_path / "poor.index", FakeEncoder(dim=64), config) as poor:
        put_vectors(poor, unit_vectors(2000, 64))
        assert not poor.verify(target_recall=0.9).target_met


def test_a_damaged_graph_file_costs_nothing_but_time(large: Index, tmp_path: Path) -> None:
    queries = unit_vectors(5, 16, seed=1)
    (tmp_path / "photos").mkdir()
    large.sync(tmp_path / "photos")
    (tmp_path / "large.index" / "graph.hnsw").write_bytes(b"\xff" * 5000)
    with Index.open(large._path) as again:
        assert again.search_descriptors(queries) == large.search_descriptors(queries)


def test_threads_search_while_one_synchronises(large: Index, tmp_path: Path) -> None:
    photos = tmp_path / "more"
    photos.mkdir()
    for i in range(200):
        (photos / f"{i}.jpg").write_text(f"content {i}")
    problems: list[object] = []
    done = threading.Event()

    def search(seed: int) -> None:
        queries = unit_vectors(3, 16, seed=seed)
        try:
            while not done.is_set():
                for hits in large.search_descriptors(queries, k=5):
                    if len({hit.id for hit in hits}) != 5:
                        problems.append(hits)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=search, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert large.sync(photos).added == 200
        for i in range(100):
            (photos / f"{i}.jpg").unlink()
        assert large.sync(photos).removed == 100
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []
    with Index.open(large._path) as again:
        queries = unit_vectors(20, 16, seed=5)
        assert again.search_descriptors(queries) == large.search_descriptors(queries)


def test_vectors_are_searched_without_tensorflow(large: Index) -> None:
    program = """
import sys
import numpy as np
from tfvlad.index import Index
index = Index.open(sys.argv[1])
print(len(index.search_descriptors(np.eye(16)[:1], k=3)[0]), "tensorflow" in sys.modules, "keras" in sys.modules)
"""
    large.close()
    command = [sys.executable, "-c", program, str(large._path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "3 False False\n"
