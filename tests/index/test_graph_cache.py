from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.catalogs import without_hnswlib
from helpers.fake_encoder import unit_vectors

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index._graph_cache import GraphCache
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, ChangedWhileReadError, Stamp, to_blob
from tfvlad.index.graph import FILE_NAMES, Graph
from tfvlad.index.graph_backends import installed_backend

DIM = 8
BACKEND: Any = installed_backend()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.create(str(tmp_path), "abc", DIM, IndexConfig())
    with opened.write() as change:
        change.put_root(Root(-1, "/photos", "../photos"))
    yield opened
    opened.close()


def add(catalog: Catalog, names: range) -> None:
    vectors = unit_vectors(names.stop, DIM)
    with catalog.write() as change:
        for i in names:
            change.put_file(1, f"{i}.jpg", Stamp(1, 1), str(i).encode(), [("whole", to_blob(vectors[i]))])


def remove(catalog: Catalog, images: list[int]) -> None:
    with catalog.write() as change:
        change.remove_files(np.array(images))


def labels(cache: GraphCache) -> list[int]:
    """Every label that the graph can find."""
    with cache.current() as (graph, _):
        found = graph.search(unit_vectors(1, DIM), len(graph))
    assert found is not None
    return sorted(found[1].ravel().tolist())


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one element for each graph that is made from nothing."""
    made: list[int] = []

    make = BACKEND.make

    def watched(dim: int, config: IndexConfig, capacity: int) -> Graph:
        made.append(capacity)
        return make(dim, config, capacity)

    monkeypatch.setattr(BACKEND, "make", watched)
    return made


def test_it_follows_the_catalog(catalog: Catalog, built: list[int]) -> None:
    cache = GraphCache(catalog, BACKEND)
    assert labels(cache) == []
    add(catalog, range(20))
    assert labels(cache) == list(range(1, 21))
    remove(catalog, [3, 5])
    add(catalog, range(20, 22))
    assert labels(cache) == [1, 2, 4, *range(6, 23)]
    assert len(built) == 1


def test_a_saved_graph_is_loaded_and_caught_up(catalog: Catalog, built: list[int]) -> None:
    add(catalog, range(20))
    remove(catalog, [1])
    GraphCache(catalog, BACKEND).save()
    assert len(built) == 1
    assert labels(GraphCache(catalog, BACKEND)) == list(range(2, 21))
    add(catalog, range(20, 25))
    remove(catalog, [2])
    cache = GraphCache(catalog, BACKEND)
    assert labels(cache) == list(range(3, 26))
    with cache.current() as (graph, _):
        assert graph.dead == 1  # descriptor 1 was gone before the graph was built
    assert len(built) == 1
    cache.save()
    loaded = GraphCache(catalog, BACKEND)
    with loaded.current() as (graph, _):
        assert (len(graph), graph.dead) == (23, 1)


def test_a_graph_with_too_many_dead_is_built_anew(catalog: Catalog, built: list[int]) -> None:
    add(catalog, range(20))
    cache = GraphCache(catalog, BACKEND)
    cache.save()
    remove(catalog, [1, 2, 3, 4, 5, 6])  # 6 of 20 are 30 %
    assert len(labels(cache)) == 14
    assert len(built) == 1
    remove(catalog, [7])
    assert labels(cache) == list(range(8, 21))
    assert len(built) == 2
    with cache.current() as (graph, _):
        assert graph.dead == 0


def test_everything_removed(catalog: Catalog) -> None:
    add(catalog, range(5))
    cache = GraphCache(catalog, BACKEND)
    cache.save()
    remove(catalog, [1, 2, 3, 4, 5])
    assert labels(cache) == []
    cache.save()
    assert labels(GraphCache(catalog, BACKEND)) == []


def test_saving_again_writes_nothing(catalog: Catalog) -> None:
    add(catalog, range(5))
    GraphCache(catalog, BACKEND).save()
    before = os.stat(os.path.join(catalog.folder, BACKEND.file_name))
    GraphCache(catalog, BACKEND).save()
    assert os.stat(os.path.join(catalog.folder, BACKEND.file_name)) == before


@pytest.mark.parametrize("crafted", [b"", b"\xff" * 96, "flipped", "other"])
def test_a_file_that_is_not_the_recorded_one_is_never_loaded(
    catalog: Catalog,
    tmp_path: Path,
    crafted: bytes | str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add(catalog, range(20))
    GraphCache(catalog, BACKEND).save()
    path = tmp_path / BACKEND.file_name
    if crafted == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif crafted == "other":
        other = BACKEND.make(DIM, IndexConfig(), 1)
        other.add(np.arange(1, 21), unit_vectors(20, DIM, seed=9))
        other.save(str(path))
    else:
        assert isinstance(crafted, bytes)
        path.write_bytes(crafted)

    def load(*arguments: object) -> Graph:
        raise AssertionError("hnswlib read an unchecked file")

    monkeypatch.setattr(BACKEND, "load", load)
    cache = GraphCache(catalog, BACKEND)
    with caplog.at_level(logging.WARNING):
        assert labels(cache) == list(range(1, 21))
    assert "is not the file that the catalog recorded" in caplog.text
    cache.save()
    monkeypatch.undo()
    assert labels(GraphCache(catalog, BACKEND)) == list(range(1, 21))


def test_a_missing_file_is_made_again(catalog: Catalog, tmp_path: Path) -> None:
    add(catalog, range(20))
    GraphCache(catalog, BACKEND).save()
    (tmp_path / BACKEND.file_name).unlink()
    cache = GraphCache(catalog, BACKEND)
    assert labels(cache) == list(range(1, 21))
    cache.save()
    assert (tmp_path / BACKEND.file_name).is_file()


def test_a_file_that_cannot_be_read_is_named(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / BACKEND.file_name).mkdir()
    with pytest.raises(ArtifactError, match="cannot be read: Is a directory"):
        labels(GraphCache(catalog, BACKEND))


@pytest.mark.parametrize("renamed", [False, True])
def test_a_crash_while_saving_leaves_a_known_file(
    catalog: Catalog, tmp_path: Path, built: list[int], monkeypatch: pytest.MonkeyPatch, renamed: bool
) -> None:
    add(catalog, range(20))
    cache = GraphCache(catalog, BACKEND)
    cache.save()
    add(catalog, range(20, 25))
    replace = os.replace

    def crash(source: str, target: str) -> None:
        if renamed:
            replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        cache.save()
    monkeypatch.undo()
    loads: list[str] = []
    load = BACKEND.load
    monkeypatch.setattr(BACKEND, "load", lambda *arguments: loads.append(arguments[0]) or load(*arguments))
    assert labels(GraphCache(catalog, BACKEND)) == list(range(1, 26))
    assert len(loads) == 1


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(catalog, range(20))
    GraphCache(catalog, BACKEND).save()
    shutil.copy(tmp_path / BACKEND.file_name, tmp_path / "old")
    load = BACKEND.load
    loads: list[str] = []

    def replaced_meanwhile(path: str, dim: int, config: IndexConfig, dead: int) -> Graph:
        loads.append(path)
        if len(loads) == 1:
            monkeypatch.undo()
            add(catalog, range(20, 25))
            GraphCache(catalog, BACKEND).save()  # another process's
        return load(path, dim, config, dead)

    monkeypatch.setattr(BACKEND, "load", replaced_meanwhile)
    cache = GraphCache(catalog, BACKEND)
    assert labels(cache) == list(range(1, 26))
    with cache.current() as (graph, _):
        assert graph.dead == 0


def test_an_interrupted_catching_up_starts_anew(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    add(catalog, range(20))
    cache = GraphCache(catalog, BACKEND)
    cache.save()
    add(catalog, range(20, 25))
    remove(catalog, [1])

    def interrupt(self: Graph, *arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BACKEND, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            labels(cache)
    assert labels(cache) == list(range(2, 26))


def test_any_backend_will_do(catalog: Catalog) -> None:
    """A graph that is no graph: it keeps vectors by their labels, and compares with all of them."""

    class Table:
        def __init__(self, vectors: dict[int, np.ndarray]) -> None:
            self.ef_search, self.dead = 1, 0
            self._vectors = vectors

        def __len__(self) -> int:
            return len(self._vectors)

        def add(self, labels: np.ndarray, vectors: np.ndarray, total: int = 0) -> None:
            self._vectors |= dict(zip(labels.tolist(), vectors, strict=True))

        def remove(self, labels: np.ndarray) -> None:
            for label in labels.tolist():
                del self._vectors[label]

        def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            cosines = queries @ np.stack(list(self._vectors.values())).T
            best = np.argsort(-cosines, axis=1)[:, :k]
            return np.take_along_axis(cosines, best, axis=1), np.array(list(self._vectors))[best]

        def save(self, path: str) -> str:
            np.savez(path + ".npz", **{str(label): vector for label, vector in self._vectors.items()})
            os.replace(path + ".npz", path)
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    class Tables:
        library = "numpy"
        file_name = "table.npz"
        made = loaded = 0

        def make(self, dim: int, config: IndexConfig, capacity: int) -> Table:
            self.made += 1
            return Table({})

        def load(self, path: str, dim: int, config: IndexConfig, dead: int) -> Table:
            self.loaded += 1
            with np.load(path) as arrays:
                return Table({int(label): arrays[label] for label in arrays})

    tables = Tables()
    add(catalog, range(20))
    GraphCache(catalog, tables).save()
    add(catalog, range(20, 22))
    remove(catalog, [3])
    assert labels(GraphCache(catalog, tables)) == [1, 2, *range(4, 23)]
    assert (tables.made, tables.loaded) == (1, 1)
    assert os.path.exists(os.path.join(catalog.folder, "table.npz"))


def test_a_graph_that_took_in_half_a_change_is_thrown_away(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    add(catalog, range(20))
    catalog.close()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        reader = Catalog(catalog.folder)
        cache = GraphCache(reader, BACKEND)
        with pytest.raises(ChangedWhileReadError), cache.current() as (graph, _):  # noqa: PT012
            assert len(graph) == 20
            with contextlib.closing(sqlite3.connect(catalog.path)) as writer:
                writer.execute("PRAGMA foreign_keys = ON")
                writer.execute("DELETE FROM files WHERE id > 5")
                writer.commit()
        assert not cache.holds(1)
        assert labels(cache) == [1, 2, 3, 4, 5]
        reader.close()


def test_closing_gives_up_the_graph(catalog: Catalog) -> None:
    add(catalog, range(20))
    cache = GraphCache(catalog, BACKEND)
    with cache.current() as (graph, _):
        cache.close()
        assert len(graph) == 20
        assert cache.holds(20)
    assert not cache.holds(1)
    cache = GraphCache(catalog, BACKEND)
    assert len(labels(cache)) == 20
    cache.close()
    assert not cache.holds(1)


def test_a_file_that_is_replaced_before_it_is_looked_up_is_no_reason_to_warn(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, built: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    add(catalog, range(20))
    GraphCache(catalog, BACKEND).save()
    digest = hashlib.file_digest

    def replaced_meanwhile(*arguments: Any) -> Any:
        found = digest(*arguments)
        monkeypatch.setattr(hashlib, "file_digest", digest)
        add(catalog, range(20, 25))
        GraphCache(catalog, BACKEND).save()  # another process's, which forgets the old file
        return found

    monkeypatch.setattr(hashlib, "file_digest", replaced_meanwhile)
    assert labels(GraphCache(catalog, BACKEND)) == list(range(1, 26))
    assert (len(built), caplog.text) == (1, "")


def test_the_graph_of_another_library_is_built_anew_and_takes_the_place(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hnswlib", reason="needs hnswlib")
    add(catalog, range(20))
    GraphCache(catalog, installed_backend()).save()
    assert os.path.exists(os.path.join(catalog.folder, "graph.hnsw"))
    without_hnswlib(monkeypatch)
    other = GraphCache(catalog, installed_backend())
    assert labels(other) == list(range(1, 21))
    assert os.path.exists(os.path.join(catalog.folder, "graph.hnsw"))  # whoever only reads changes nothing
    other.save()
    assert [name for name in FILE_NAMES if os.path.exists(os.path.join(catalog.folder, name))] == ["graph.voyager"]
    assert labels(GraphCache(catalog, installed_backend())) == list(range(1, 21))
