from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_encoder import unit_vectors

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, Change, Stamp, State, to_blob

DIM = 4
STAMP = Stamp(10, 1_700_000_000_123_456_789)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.create(str(tmp_path), "abc", DIM, IndexConfig(m=8))
    yield opened
    opened.close()


def put_images(change: Change, count: int, views: int = 1) -> list[int]:
    root = change.put_root(Root(-1, "/photos", "../photos"))
    vectors = unit_vectors(count * views, DIM)
    return [
        change.put_file(
            root,
            f"{i}.jpg",
            STAMP,
            bytes([i]) * 32,
            [(f"view{v}", to_blob(vectors[i * views + v])) for v in range(views)],
        )
        for i in range(count)
    ]


def edit(catalog: Catalog, statement: str) -> None:
    connection = sqlite3.connect(catalog.path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_settings_come_back(catalog: Catalog) -> None:
    again = Catalog(catalog.folder)
    assert (again.fingerprint, again.dim, again.config) == ("abc", DIM, IndexConfig(m=8))
    again.close()


def test_a_folder_without_a_catalog_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not an index: there is no file catalog\.sqlite in it"):
        Catalog(str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_a_file_that_is_no_catalog_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(content)
    with pytest.raises(ArtifactError, match="is not the catalog of an index"):
        Catalog(str(tmp_path))


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    connection.close()
    with pytest.raises(ArtifactError, match="is not the catalog of an index"):
        Catalog(str(tmp_path))


def test_a_newer_format_is_refused(catalog: Catalog) -> None:
    edit(catalog, "UPDATE meta SET value = '4' WHERE key = 'format'")
    with pytest.raises(ArtifactError, match="is of format 4, newer than the format 3"):
        Catalog(catalog.folder)


@pytest.mark.parametrize(
    "damage", ["DELETE FROM meta WHERE key = 'dim'", "UPDATE meta SET value = 'x' WHERE key = 'ef_search'"]
)
def test_incomplete_settings_are_refused(catalog: Catalog, damage: str) -> None:
    edit(catalog, damage)
    with pytest.raises(ArtifactError, match="its settings are incomplete"):
        Catalog(catalog.folder)


def test_the_state_tells_every_set_of_descriptors_apart(catalog: Catalog) -> None:
    with catalog.read() as snapshot:
        assert snapshot.state() == State(0, 0)
    with catalog.write() as change:
        images = put_images(change, 3)  # descriptors 1, 2, 3
    with catalog.write() as change:
        before = change.state()
        change.remove_files(np.array(images[1:2]))  # removal 1, of descriptor 2
        change.put_file(1, "0.jpg", STAMP, b"new" * 8, [("whole", to_blob(np.ones(DIM)))])  # removal 2; descriptor 4
    with catalog.read() as snapshot:
        assert (before, snapshot.state()) == (State(3, 0), State(4, 2))
        assert snapshot.removed_since(before).tolist() == [2, 1]
        assert snapshot.descriptor_ids().tolist() == [3, 4]


def test_a_descriptor_that_came_and_went_since_is_no_removal(catalog: Catalog) -> None:
    with catalog.write() as change:
        put_images(change, 1)
        before = change.state()
        new = change.put_file(1, "new.jpg", STAMP, b"n" * 32, [("whole", to_blob(np.ones(DIM)))])
        change.remove_files(np.array([new]))
        assert change.removed_since(before).size == 0


def test_an_image_keeps_its_id_and_an_id_is_never_used_again(catalog: Catalog) -> None:
    with catalog.write() as change:
        images = put_images(change, 2)
        assert change.put_file(1, "1.jpg", Stamp(1, 1), b"x" * 32, []) == images[1]
        change.remove_files(np.array(images))
        assert change.put_file(1, "1.jpg", STAMP, b"x" * 32, []) == images[1] + 1


def test_blocks_give_every_descriptor_once(catalog: Catalog) -> None:
    with catalog.write() as change:
        put_images(change, 5, views=2)
    with catalog.read() as snapshot:
        blocks = list(snapshot.blocks(size=4))
        assert [len(block.descriptors) for block in blocks] == [4, 4, 2]
        assert np.concatenate([block.images for block in blocks]).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        assert np.array_equal(np.concatenate([block.vectors for block in blocks]), unit_vectors(10, DIM))
        assert [block.descriptors.tolist() for block in snapshot.blocks(4, after=8)] == [[9, 10]]
        assert snapshot.block_of(np.array([10, 3, 99])).descriptors.tolist() == [3, 10]
        assert snapshot.block_of(np.array([99])).vectors.shape == (0, DIM)
        assert snapshot.count_descriptors() == 10
        assert [snapshot.has_descriptors(n) for n in (1, 10, 11, 2**70)] == [True, True, False, False]


def test_the_image_of_each_descriptor(catalog: Catalog) -> None:
    with catalog.write() as change:
        put_images(change, 3, views=2)
        assert change.images_of(np.array([[6, 1], [99, 2]])).tolist() == [[3, 1], [-1, 1]]
        assert change.images_of(np.empty((0, 2), np.int64)).shape == (0, 2)


def test_a_vector_of_another_length_is_refused_and_found_out(catalog: Catalog) -> None:
    with catalog.write() as change, pytest.raises(ValueError, match="4 dimensions, 16 bytes"):
        change.put_file(1, "a.jpg", STAMP, b"", [("whole", to_blob(np.ones(DIM + 1)))])
    with catalog.write() as change:
        put_images(change, 2)
    edit(catalog, "UPDATE descriptors SET vector = x'00' WHERE id = 2")
    with catalog.read() as snapshot, pytest.raises(ArtifactError, match="a descriptor that has not 4 dimensions"):
        list(snapshot.blocks(10))


def test_a_failure_takes_the_place_of_the_image_and_an_image_that_of_the_failure(catalog: Catalog) -> None:
    with catalog.write() as change:
        put_images(change, 1)
        change.put_failure(1, "0.jpg", STAMP, "first")
        change.put_failure(1, "0.jpg", Stamp(1, 2), "second")
        failure = change.find_failure(1, "0.jpg")
        assert failure is not None
        assert failure[1:] == (Stamp(1, 2), "second")
        assert (change.find_file(1, "0.jpg"), change.count_descriptors()) == (None, 0)
        change.put_file(1, "0.jpg", STAMP, b"", [])
        assert change.find_failure(1, "0.jpg") is None


def test_a_path_that_is_not_utf8_comes_back(catalog: Catalog) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    with catalog.write() as change:
        root = change.put_root(Root(-1, os.fsdecode(b"/ph\xf6tos"), "."))
        image = change.put_file(root, name, STAMP, b"", [])
        assert list(change.locate_files(np.array([image]))) == [(image, root, name)]
        assert change.roots()[0].path == os.fsdecode(b"/ph\xf6tos")


def test_a_change_is_all_or_nothing(catalog: Catalog) -> None:
    with catalog.write() as change:
        before = put_images(change, 1)
    clash = [("whole", to_blob(np.ones(DIM)))] * 2  # an image has each view once
    with pytest.raises(ArtifactError, match="UNIQUE"), catalog.write() as change:
        change.put_file(1, "new.jpg", STAMP, b"", clash)
    with catalog.read() as snapshot:
        assert (snapshot.file_ids(1).tolist(), snapshot.state()) == (before, State(1, 0))


def test_a_snapshot_does_not_see_what_is_committed_meanwhile(catalog: Catalog) -> None:
    with catalog.read() as snapshot:
        assert snapshot.count_files() == 0
        with catalog.write() as change:
            put_images(change, 3)
        assert snapshot.count_files() == 0
    with catalog.read() as snapshot:
        assert snapshot.count_files() == 3


def test_threads_read_while_one_writes(catalog: Catalog) -> None:
    with catalog.write() as change:
        put_images(change, 1)
    counts: list[int] = []

    def read() -> None:
        for _ in range(50):
            with catalog.read() as snapshot:
                counts.append(snapshot.count_files() - len(snapshot.file_ids(1)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(20):
        with catalog.write() as change:
            change.put_file(1, f"more{i}.jpg", STAMP, b"", [("whole", to_blob(np.ones(DIM)))])
    for thread in threads:
        thread.join()
    assert counts == [0] * 200


def test_a_second_writer_is_turned_away(catalog: Catalog) -> None:
    other = Catalog(catalog.folder)
    with catalog.sole_writer(), pytest.raises(ArtifactError, match="is being written to already"), other.sole_writer():
        pass
    with other.sole_writer():
        pass
    other.close()


def test_a_second_process_is_turned_away(catalog: Catalog) -> None:
    program = """
import sys
from tfvlad.index.catalog import Catalog
from tfvlad.index.catalog import Change
from tfvlad.errors import ArtifactError
try:
    with Catalog(sys.argv[1]).sole_writer():
        print("free")
except ArtifactError as error:
    print(error.reason)
"""
    command = [sys.executable, "-c", program, catalog.folder]
    with catalog.sole_writer():
        held = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    free = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(
        r"is being written to already; try again when that is done "
        rf"\(process {os.getpid()} on {re.escape(platform.node())}, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00\)\n",
        held,
    )
    assert free == "free\n"


def test_a_closed_catalog_says_so_and_leaves_one_file(catalog: Catalog) -> None:
    with catalog.write() as change:
        put_images(change, 1)
    with catalog.read():
        catalog.close()  # this reader's connection is closed as its block ends
    with pytest.raises(ValueError, match="is closed"), catalog.read():
        pass
    assert os.listdir(catalog.folder) == ["catalog.sqlite"]


def test_a_catalog_on_a_read_only_disk_can_be_read(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    with catalog.write() as change:
        put_images(change, 2)
    catalog.close()
    # A test may run as root, whom no file mode stops; so the question is answered for the disk.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    reader = Catalog(catalog.folder)
    with reader.read() as snapshot:
        assert snapshot.count_files() == 2
        assert os.listdir(catalog.folder) == ["catalog.sqlite"]  # no shared memory, no log beside it
    with pytest.raises(ArtifactError, match="attempt to write a readonly database"), reader.write() as change:
        put_images(change, 1)
    reader.close()
