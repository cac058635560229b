"""Local features in the catalog: kept in the same commit as the descriptors, and added to older indexes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.syncing import counts, run, write

from tfvlad.index import Index
from tfvlad.index.catalog import Catalog, Kept
from tfvlad.index.compact import UPRIGHT, compact
from tfvlad.matching.local_features import LocalFeatures


def kept(catalog: Catalog) -> dict[str, LocalFeatures]:
    """The kept local features by the name of a file that shows them."""
    with catalog.read() as snapshot:
        stored = dict(snapshot.local_features_of(snapshot.images_with_local_features()))
        return {
            path: LocalFeatures.from_bytes(stored[image])
            for image, _, _, path in snapshot.files_of(np.array(list(stored), np.int64))
        }


def expected(content: str, limit: int) -> LocalFeatures:
    return compact(FakeEncoder().features(content.encode()), (64, 48), UPRIGHT, limit)


def as_format_1(catalog: Catalog) -> None:
    """Makes the catalog one of format 1, as an earlier release would have written it."""
    connection = sqlite3.connect(catalog.path)
    connection.executescript(
        "DROP TABLE local_features; DROP TABLE hubness;"
        "ALTER TABLE files DROP COLUMN ctime_ns; ALTER TABLE files DROP COLUMN inode;"
        "ALTER TABLE failures DROP COLUMN ctime_ns; ALTER TABLE failures DROP COLUMN inode;"
        "DELETE FROM meta WHERE key IN ('views', 'local_features', 'calibration', 'hubness');"
        "UPDATE meta SET value = '1' WHERE key = 'format'"
    )
    connection.close()


def format_of(catalog: Catalog) -> str:
    connection = sqlite3.connect(catalog.path)
    [(version,)] = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchall()
    connection.close()
    return str(version)


def test_they_are_kept_of_each_image_once(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="two", c="one", d="bad")
    assert counts(run(catalog, photos, local_features=20)) == (3, 0, 0, 0, 1)
    found = kept(catalog)
    assert set(found) == {"a.jpg", "b.jpg", "c.jpg"}
    for name, content in (("a.jpg", "one"), ("b.jpg", "two"), ("c.jpg", "one")):
        assert found[name].to_bytes() == expected(content, 20).to_bytes()
    assert len(found["a.jpg"]) == 20
    assert found["a.jpg"].size == (64, 48)


def test_adding_them_encodes_the_whole_picture_of_each_image_that_lacks_them(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="two", c="one")
    run(catalog, photos)
    write(photos, d="three")
    encoder = FakeEncoder()
    report = run(catalog, photos, encoder=encoder, local_features=20)
    assert (counts(report), report.completed) == ((1, 0, 0, 3, 0), 3)
    assert sorted(encoder.encoded) == [b"one", b"three", b"two"]
    assert len(kept(catalog)) == 4
    report = run(catalog, photos, encoder=encoder)
    assert (counts(report), report.completed, len(encoder.encoded)) == ((0, 0, 0, 4, 0), 0, 3)


def test_a_changed_file_gets_new_ones(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="two")
    run(catalog, photos, local_features=20)
    write(photos, a="changed")
    run(catalog, photos)
    assert kept(catalog)["a.jpg"].to_bytes() == expected("changed", 20).to_bytes()
    assert len(kept(catalog)) == 2


def test_they_are_removed_when_none_are_to_be_kept(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one")
    run(catalog, photos, local_features=20)
    encoder = FakeEncoder()
    run(catalog, photos, encoder=encoder, local_features=0)
    assert (kept(catalog), encoder.encoded) == ({}, [])


def test_an_interruption_leaves_descriptors_and_local_features_together(catalog: Catalog, photos: Path) -> None:
    write(photos, **{f"f{i}": f"content {i}" for i in range(150)})
    with pytest.raises(KeyboardInterrupt):
        run(catalog, photos, encoder=FakeEncoder(interrupt_after=100), local_features=20)
    with catalog.read() as snapshot:
        indexed = {path for _, _, path in snapshot.files_page(0, 1000)}
    assert 64 <= len(indexed) < 150
    assert set(kept(catalog)) == indexed
    encoder = FakeEncoder()
    run(catalog, photos, encoder=encoder)
    assert len(encoder.encoded) == 150 - len(indexed)
    assert len(kept(catalog)) == 150


def test_format_1_becomes_the_present_one_and_keeps_no_more_until_that_is_asked_for(
    catalog: Catalog, photos: Path
) -> None:
    write(photos, a="one", b="two")
    run(catalog, photos)
    as_format_1(catalog)
    older = Catalog(catalog.folder)
    write(photos, c="three")
    assert counts(run(older, photos)) == (1, 0, 0, 2, 0)
    assert counts(run(older, photos, views="whole", local_features=0)) == (0, 0, 0, 3, 0)
    assert format_of(older) == "3"
    with older.read() as snapshot:
        assert snapshot.kept() == Kept("whole", 0)
        assert list(snapshot.local_features_of(np.array([1]))) == []
    encoder = FakeEncoder()
    report = run(older, photos, encoder=encoder, local_features=20)
    assert (counts(report), report.completed, len(encoder.encoded)) == ((0, 0, 0, 3, 0), 3, 3)
    older.close()
    Catalog(catalog.folder).close()  # its tables are those of the present format


def test_a_migration_that_fails_leaves_format_1(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one")
    run(catalog, photos)
    as_format_1(catalog)
    older = Catalog(catalog.folder)

    def fail_inside() -> None:
        with older.write() as change:
            change.upgrade()
            change.put_kept(Kept("rotations:2", 5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_inside()
    assert format_of(older) == "1"
    older.close()
    Catalog(catalog.folder).close()


def test_an_index_keeps_them_unless_told_otherwise(tmp_path: Path, photos: Path) -> None:
    write(photos, a="one")
    encoder: Any = FakeEncoder()
    # Of 12 x 12 cells, one is left out at each edge.
    for options, cells in (({}, [100]), ({"local_features": 7}, [7]), ({"local_features": 0}, [])):
        with Index.create(tmp_path / f"index {cells}", encoder, **options) as index:
            index.sync(photos)
            assert [len(features) for features in kept(index._catalog).values()] == cells
