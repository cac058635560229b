"""The file of descriptors beside the catalog: the exact search reads it, and it never differs from what SQLite has."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.catalogs import put_images
from helpers.fake_encoder import unit_vectors

from tfvlad.config import IndexConfig
from tfvlad.index.catalog import Block, Catalog, _catalog
from tfvlad.index.catalog._vectors_file import FILE_NAME
from tfvlad.index.ranking import search_exactly

DIM = 4


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    monkeypatch.setattr(_catalog, "_WORTH_A_FILE", 10)
    opened = Catalog.create(str(tmp_path), "abc", DIM, IndexConfig())
    yield opened
    opened.close()


def add(catalog: Catalog, first: int, count: int, views: int = 1) -> None:
    """Adds the images `first`, `first` + 1 ..., with so many views each."""
    put_images(catalog, first + np.repeat(np.arange(count), views), unit_vectors(count * views, DIM, seed=first))


def remove(catalog: Catalog, *files: int) -> None:
    with catalog.write() as change:
        change.remove_files(np.array(files, np.int64))


def of_sqlite(catalog: Catalog) -> Block:
    """All descriptors, as SQLite has them."""
    with sqlite3.connect(catalog.path) as connection:
        rows = connection.execute("SELECT id, image, vector FROM descriptors ORDER BY id").fetchall()
    vectors = np.array([np.frombuffer(vector, "<f4") for _, _, vector in rows])
    return Block(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), vectors)


def read(catalog: Catalog, size: int = 3, after: int = 0) -> Block:
    with catalog.read() as snapshot:
        parts = zip(*snapshot.blocks(size, after), strict=True)
        return Block(*(np.concatenate(part) for part in parts))


def assert_equal(one: Block, other: Block) -> None:
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def hide_vectors(catalog: Catalog) -> None:
    """Spoils every vector that SQLite has, so that only the file can give the right ones."""
    with sqlite3.connect(catalog.path) as connection:
        connection.execute("UPDATE descriptors SET vector = zeroblob(1)")


def test_descriptors_come_from_the_file_in_blocks(catalog: Catalog, tmp_path: Path) -> None:
    add(catalog, 0, 12, views=2)
    catalog.save_vectors()
    expected = of_sqlite(catalog)
    hide_vectors(catalog)
    for size in (1, 7, 100):
        assert_equal(read(catalog, size), expected)
    assert_equal(read(catalog, after=20), Block(*(part[20:] for part in expected)))
    assert (tmp_path / FILE_NAME).stat().st_size == 24 * (16 + 4 * DIM)


def test_what_was_added_and_removed_since_is_known_from_the_catalog(catalog: Catalog) -> None:
    generator = random.Random(0)
    add(catalog, 0, 30)
    catalog.save_vectors()
    for step in range(1, 6):
        with catalog.read() as snapshot:
            files = snapshot.file_ids(1).tolist()
        remove(catalog, *generator.sample(files, 3))
        add(catalog, 100 * step, 4, views=step)
        assert_equal(read(catalog), of_sqlite(catalog))
        if step == 3:
            catalog.save_vectors()
    catalog.save_vectors()
    assert_equal(read(catalog), of_sqlite(catalog))


def test_a_block_of_which_nothing_is_left_is_left_out(catalog: Catalog) -> None:
    add(catalog, 0, 12)
    catalog.save_vectors()
    remove(catalog, 4, 5, 6)
    with catalog.read() as snapshot:
        assert [len(block.descriptors) for block in snapshot.blocks(3)] == [3, 3, 3]


def test_the_exact_search_finds_the_same(catalog: Catalog) -> None:
    add(catalog, 0, 500, views=3)
    queries = unit_vectors(5, DIM, seed=9)
    with catalog.read() as snapshot:
        expected = search_exactly(snapshot, queries, 20)
    catalog.save_vectors()
    hide_vectors(catalog)
    with catalog.read() as snapshot:
        for mine, theirs in zip(search_exactly(snapshot, queries, 20), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def damage_a_byte(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        damage_a_byte,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[: -16 - 4 * DIM]),
        lambda path: path.write_bytes(b""),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["missing", "a bit", "a byte short", "a row short", "empty", "a folder"],
)
def test_a_file_that_is_not_the_recorded_one_is_not_read(catalog: Catalog, tmp_path: Path, spoil: object) -> None:
    add(catalog, 0, 12)
    catalog.save_vectors()
    read(catalog)  # its digest is known
    spoil(tmp_path / FILE_NAME)  # type: ignore[operator]
    assert_equal(read(catalog), of_sqlite(catalog))


def test_a_file_is_not_read_once_removals_since_are_forgotten(catalog: Catalog) -> None:
    add(catalog, 0, 12)
    catalog.save_vectors()
    remove(catalog, 3)
    with catalog.write() as change:
        change.forget_removals(until=change.state())
    assert_equal(read(catalog), of_sqlite(catalog))


def test_a_writer_that_was_killed_before_it_recorded_the_file_does_no_harm(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(catalog, 0, 12)
    catalog.save_vectors()
    add(catalog, 100, 5)
    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "write", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            catalog.save_vectors()
    assert_equal(read(catalog), of_sqlite(catalog))
    catalog.save_vectors()
    expected = of_sqlite(catalog)
    hide_vectors(catalog)
    assert_equal(read(catalog), expected)


def test_the_file_is_written_only_when_something_has_changed(catalog: Catalog, tmp_path: Path) -> None:
    add(catalog, 0, 12)
    catalog.save_vectors()
    before = (tmp_path / FILE_NAME).stat()
    catalog.save_vectors()
    assert (tmp_path / FILE_NAME).stat().st_ino == before.st_ino
    os.unlink(tmp_path / FILE_NAME)
    catalog.save_vectors()
    assert (tmp_path / FILE_NAME).exists()


def test_an_index_of_few_images_has_no_file(catalog: Catalog, tmp_path: Path) -> None:
    add(catalog, 0, 9)
    catalog.save_vectors()
    assert not (tmp_path / FILE_NAME).exists()
    add(catalog, 100, 1)
    catalog.save_vectors()
    assert (tmp_path / FILE_NAME).exists()
    remove(catalog, 1)
    catalog.save_vectors()
    assert not (tmp_path / FILE_NAME).exists()
    assert_equal(read(catalog), of_sqlite(catalog))


@pytest.mark.parametrize("value", ["", "null", "[]", '["x"]', '["x", 1, "y"]', "[" * 10_000])
def test_a_record_that_makes_no_sense_is_none(catalog: Catalog, value: str) -> None:
    add(catalog, 0, 12)
    catalog.save_vectors()
    with sqlite3.connect(catalog.path) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'vectors'", (value,))
    assert_equal(read(catalog), of_sqlite(catalog))
    catalog.save_vectors()
    assert_equal(read(catalog), of_sqlite(catalog))
