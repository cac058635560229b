"""An index that is large enough for its graph to be used."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.catalogs import put_vectors
from helpers.fake_encoder import FakeEncoder, unit_vectors

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError, ConfigError
from tfvlad.index import _search
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, Stamp, to_blob
from tfvlad.index.index import Index
from tfvlad.index.ranking import Ranking


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Index]:
    """3000 random descriptors: enough for the graph to be used."""
    with Index.create(tmp_path / "large.index", FakeEncoder(dim=16)) as made:
        put_vectors(str(made._path), unit_vectors(3000, 16))
        yield made


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
    for k in (1, 299, 300, 2999, 3000, 5000, sys.maxsize):
        for exact in (False, True):
            [hits] = large.search_descriptors(query, k=k, exact=exact)
            assert len({hit.id for hit in hits}) == min(k, 3000)
    for k in (0, -1):
        with pytest.raises(ConfigError, match=f"k must be 1 or more, got {k}"):
            large.search_descriptors(query, k=k)


def test_verify(large: Index) -> None:
    result = large.verify(target_recall=0.95)
    assert (result.k, result.queries, result.target_recall) == (10, 500, 0.95)
    assert 0.95 <= result.recall <= 1
    assert result.target_met
    assert result == large.verify(target_recall=0.95)
    assert not large.verify(target_recall=1.01).target_met


def test_the_chosen_ef_search_is_stored_for_every_process(large: Index) -> None:
    with Index.open(large._path) as other:
        queries = unit_vectors(5, 16, seed=1)
        other.search_descriptors(queries)
        chosen = large.verify(target_recall=0.9).ef_search
        assert chosen < IndexConfig().ef_search
        for index in (large, other):
            assert index.verify().ef_search == chosen
        assert other.search_descriptors(queries) == large.search_descriptors(queries)
    with Index.open(large._path) as later:
        assert later.verify().ef_search == chosen
        assert later.verify(target_recall=1.01).ef_search > chosen  # tried in vain
        assert later.verify().ef_search == chosen


def test_the_chosen_ef_search_is_enough_for_queries_from_elsewhere(tmp_path: Path) -> None:
    """Chosen on the descriptors themselves, which are linked to their neighbours, it found 0.52 of them here."""
    vectors = unit_vectors(3300, 64)
    with Index.create(tmp_path / "i", FakeEncoder(dim=64)) as index:
        put_vectors(str(index._path), vectors[:3000])
        index.verify(target_recall=0.95)
        exact = index.search_descriptors(vectors[3000:], exact=True)
        found = index.search_descriptors(vectors[3000:])
    shares = [len({hit.id for hit in a} & {hit.id for hit in b}) / 10 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shares) > 0.9


def test_verification_without_a_target_writes_nothing(large: Index) -> None:
    catalog = Catalog(str(large._path))
    with catalog.sole_writer():  # another's
        assert large.verify().target_met
        chosen = large.verify().ef_search
        with pytest.raises(ArtifactError, match="is being written to already"):
            large.verify(target_recall=0.9)
    catalog.close()
    assert large.verify().ef_search == chosen
    with pytest.raises(ConfigError, match="k must be 1 or more, got 0"):
        large.verify(k=0)


def test_an_index_that_is_searched_exactly_keeps_its_ef_search(tmp_path: Path) -> None:
    with Index.create(tmp_path / "small.index", FakeEncoder(dim=16)) as small:
        put_vectors(str(small._path), unit_vectors(200, 16))
        assert small.verify(target_recall=0.5).ef_search == IndexConfig().ef_search


def test_a_search_sees_every_change_at_once(large: Index, tmp_path: Path) -> None:
    [query] = unit_vectors(3000, 16)[41:42]
    assert large.search_descriptors([query], k=1)[0][0].path == "/nowhere/41.jpg"
    catalog = Catalog(str(large._path))  # another's connections
    for change_by in (catalog, large._catalog):  # and its own
        name = f"copy by {id(change_by)}.jpg"
        with change_by.write() as change:
            change.put_file(1, name, Stamp(1, 1), b"41", [])
        assert f"/nowhere/{name}" in [hit.path for hit in large.search_descriptors([query], k=3)[0]]
    with catalog.write() as change:
        change.remove_files(np.array([42]))
    hits = large.search_descriptors([query], k=2)[0]
    assert [hit.path.startswith("/nowhere/copy") for hit in hits] == [True, True]
    assert hits[0].score == hits[1].score
    assert hits[0].id < hits[1].id
    with catalog.write() as change:  # the folder is elsewhere
        change.put_root(Root(1, "/elsewhere", "../elsewhere"))
    assert large.search_descriptors([query], k=1)[0][0].path.startswith("/elsewhere/copy")
    catalog.close()


def test_views_of_one_image_are_one_hit_in_the_graph_too(large: Index) -> None:
    [query] = unit_vectors(3000, 16)[41:42]
    large.search_descriptors([query])
    catalog = Catalog(str(large._path))
    with catalog.write() as change:
        views = [("whole", to_blob(query)), ("turned", to_blob(query * 0.999))]
        change.put_file(1, "views.jpg", Stamp(1, 1), b"views", views)
    catalog.close()
    hits = large.search_descriptors([query], k=10)[0]
    assert {"/nowhere/41.jpg", "/nowhere/views.jpg"} == {hit.path for hit in hits[:2]}
    assert len({hit.id for hit in hits}) == 10


def test_copies_are_hits_of_their_own(large: Index) -> None:
    vectors = unit_vectors(3000, 16)
    with large._catalog.write() as change:
        for name in ("b", "a"):
            change.put_file(1, f"{name}.jpg", Stamp(1, 1), b"41", [])
    first = large.search_descriptors(vectors[40:43], k=3)
    assert [hit.id for hit in first[1]] == [42, 3001, 3002]
    assert large.search_descriptors(vectors[40:43], k=3) == first
    assert [len(hits) for hits in large.search_descriptors(vectors[40:43], k=2)] == [2, 2, 2]


def test_a_folder_that_moves_while_the_index_is_open_is_found_again(large: Index, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    with large._catalog.write() as change:
        change.put_root(Root(1, str(before), "../after"))
    [query] = unit_vectors(3000, 16)[41:42]
    assert large.search_descriptors([query], k=1)[0][0].path == str(before / "41.jpg")
    before.rename(tmp_path / "after")
    assert large.search_descriptors([query], k=1)[0][0].path == str(tmp_path / "after" / "41.jpg")


def test_a_poor_graph_does_not_reach_the_target(tmp_path: Path) -> None:
    config = IndexConfig(m=2, ef_construction=2, ef_search=2)
    with Index.create(tmp_path / "poor.index", FakeEncoder(dim=64), config) as poor:
        put_vectors(str(poor._path), unit_vectors(2000, 64))
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
from tfvlad.index.index import Index
index = Index.open(sys.argv[1])
print(len(index.search_descriptors(np.eye(16)[:1], k=3)[0]), "tensorflow" in sys.modules, "keras" in sys.modules)
"""
    large.close()
    command = [sys.executable, "-c", program, str(large._path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "3 False False\n"


@pytest.mark.parametrize("exact", [False, True])
def test_a_search_that_a_writer_overtakes_is_made_anew(
    large: Index, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    """It has read without locks, because it may not write the folder; so it may have seen half of the change."""
    large.close()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    name = "search_exactly" if exact else "search_through_graph"
    rank, overtaken = getattr(_search, name), [1]

    def overtake(*arguments: Any) -> Ranking:
        ranking: Ranking = rank(*arguments)
        if overtaken and overtaken.pop():
            with contextlib.closing(sqlite3.connect(os.path.join(large._path, "catalog.sqlite"))) as writer:
                writer.execute("PRAGMA foreign_keys = ON")
                writer.execute("DELETE FROM files WHERE id = (SELECT MIN(id) FROM files)")
                writer.commit()
        return ranking

    monkeypatch.setattr(_search, name, overtake)
    with Index.open(large._path) as reader:
        [hits] = reader.search_descriptors(unit_vectors(3000, 16)[:1], 1, exact)
        assert len(reader) == 2999
        assert hits[0].id != 1
        overtaken += [1, 1]
        with pytest.raises(ArtifactError, match=r"was changed while it was read; try again$"):
            reader.search_descriptors(unit_vectors(1, 16), 1, exact)
