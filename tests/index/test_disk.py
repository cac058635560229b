"""Full disks and torn writes: one line, nothing committed is lost, and the next run completes."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.syncing import write

from tfvlad.config import EncoderConfig
from tfvlad.encoding.files import read_encoder, write_encoder
from tfvlad.errors import ArtifactError
from tfvlad.index.catalog import Catalog
from tfvlad.index.index import Index
from tfvlad.storage import atomic

FILES = 300


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    write(folder, **{f"f{i:03}": f"content {i}" for i in range(FILES)})
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "i", FakeEncoder(dim=256)) as made:
        yield made


@pytest.fixture
def file_size() -> Iterator[object]:
    """Limits the size of files, as a full disk does, for this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def sound(folder: Path) -> bool:
    connection = sqlite3.connect(folder / "catalog.sqlite")
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


@pytest.mark.parametrize("limit", [100_000, 200_000, 300_000])
def test_a_disk_that_fills_up_while_the_catalog_is_written(
    index: Index, photos: Path, tmp_path: Path, file_size: object, limit: int
) -> None:
    file_size(limit)  # type: ignore[operator]
    with pytest.raises(ArtifactError, match=r"i/catalog\.sqlite: (disk I/O error|database or disk is full)$"):
        index.sync(photos)
    file_size(resource.RLIM_INFINITY)  # type: ignore[operator]
    assert sound(tmp_path / "i")
    kept = len(index)
    assert kept < FILES
    rest = FakeEncoder(dim=256)
    assert index.sync(photos, encoder=rest).added == FILES - kept == len(rest.encoded)


def test_a_disk_that_is_full_when_the_graph_is_saved(
    index: Index, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_sync", full)
        with pytest.raises(ArtifactError, match=r"i/graph\.hnsw: cannot be written: No space left on device$"):
            index.sync(photos)
    assert not [name for name in os.listdir(tmp_path / "i") if name.startswith(".")]
    encoder = FakeEncoder(dim=256)
    assert (index.sync(photos, encoder=encoder).unchanged, encoder.encoded) == (FILES, [])
    assert (tmp_path / "i" / "graph.hnsw").is_file()


def test_a_graph_that_hnswlib_could_not_write_whole(
    index: Index, photos: Path, tmp_path: Path, file_size: object
) -> None:
    index.sync(photos)
    before = (tmp_path / "i" / "graph.hnsw").read_bytes()
    write(photos, more="more")
    index._graphs.save = lambda: None  # type: ignore[method-assign]
    index.sync(photos)
    with Index.open(tmp_path / "i", FakeEncoder(dim=256)) as again, again._catalog.sole_writer():
        file_size(100_000)  # type: ignore[operator]
        with pytest.raises(ArtifactError, match="could not be written whole; is the disk full"):
            again._graphs.save()
        file_size(resource.RLIM_INFINITY)  # type: ignore[operator]
        assert (tmp_path / "i" / "graph.hnsw").read_bytes() == before
        again._graphs.save()


def test_a_disk_that_is_full_when_an_encoder_is_saved(tmp_path: Path, file_size: object) -> None:
    config = EncoderConfig(clusters=4, dim=None)
    codebook = np.ones((4, 8), np.float32)
    write_encoder(tmp_path / "e", config, codebook, None, None, "old")
    file_size(100)  # type: ignore[operator]
    with pytest.raises(OSError, match="File too large"):
        write_encoder(tmp_path / "e", config, codebook, None, None, "new")
    file_size(resource.RLIM_INFINITY)  # type: ignore[operator]
    assert read_encoder(tmp_path / "e").fingerprint == "old"
    assert os.listdir(tmp_path) == ["e"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("torn", ["cut", "zeros"])
def test_a_log_whose_end_never_reached_the_disk(
    index: Index, photos: Path, tmp_path: Path, share: float, torn: str
) -> None:
    """As after a power cut: some last part of the write-ahead log is missing, or was never written."""
    index.sync(photos)
    shutil.copytree(tmp_path / "i", tmp_path / "after")
    log = tmp_path / "after" / "catalog.sqlite-wal"
    (tmp_path / "after" / "catalog.sqlite-shm").unlink()
    size = log.stat().st_size
    os.truncate(log, int(size * share))
    if torn == "zeros":
        os.truncate(log, size)
    assert sound(tmp_path / "after")
    with Index.open(tmp_path / "after", FakeEncoder(dim=256)) as after:
        kept = len(after)
        rest = FakeEncoder(dim=256)
        report = after.sync(photos, encoder=rest)
        assert (report.added, report.unchanged, len(rest.encoded)) == (FILES - kept, kept, FILES - kept)
        assert after.search_descriptors([FakeEncoder(dim=256).describe(b"content 7")])[0][0].path.endswith("f007.jpg")


def test_a_graph_that_is_cut_off_is_built_anew(index: Index, photos: Path, tmp_path: Path) -> None:
    index.sync(photos)
    os.truncate(tmp_path / "i" / "graph.hnsw", 1000)
    with Index.open(tmp_path / "i", FakeEncoder(dim=256)) as again:
        assert again.verify().recall == 1
        again.sync(photos)
    assert (tmp_path / "i" / "graph.hnsw").stat().st_size > 1000


def test_space_of_what_is_removed_is_given_back(index: Index, photos: Path, tmp_path: Path) -> None:
    def size() -> int:
        with sqlite3.connect(tmp_path / "i" / "catalog.sqlite") as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return (tmp_path / "i" / "catalog.sqlite").stat().st_size

    index.sync(photos)
    full, graph = size(), (tmp_path / "i" / "graph.hnsw").stat().st_size
    for path in sorted(photos.iterdir())[10:]:
        path.unlink()
    index.sync(photos)
    assert size() < full / 3
    assert (tmp_path / "i" / "graph.hnsw").stat().st_size < graph / 3  # with 97 % removed it was built anew
    catalog = Catalog(str(tmp_path / "i"))
    with catalog.read() as snapshot:
        assert snapshot.removed_since(snapshot.state()._replace(last_removal=0)).size == 0
    catalog.close()


def test_a_reader_that_missed_removals_starts_from_the_saved_graph(index: Index, photos: Path, tmp_path: Path) -> None:
    index.sync(photos)
    with Index.open(tmp_path / "i", FakeEncoder(dim=256)) as reader:
        assert reader.verify().queries == FILES  # its graph is in memory now
        for path in sorted(photos.iterdir())[:20]:
            path.unlink()
        index.sync(photos)
        with reader._graphs.current() as (graph, snapshot):
            assert len(graph) == snapshot.count_descriptors() == FILES - 20
        assert reader.verify().recall == 1
