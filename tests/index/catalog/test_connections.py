"""Reading without the right to write the folder. Whether a process has it is made up here, for SQLite to be watched.

`tests/index/test_other_users.py` has readers of another user, who really lack it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index.catalog import Catalog, ChangedWhileReadError, Snapshot


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """A catalog, opened by somebody who may not write it."""
    Catalog.create(str(tmp_path), "abc", 4, IndexConfig()).close()
    # A test may run as root, whom no file mode stops; so the question is answered for SQLite.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    opened = Catalog(str(tmp_path))
    yield opened
    opened.close()


def ef_search(catalog: Catalog) -> int:
    with catalog.read() as snapshot:
        return snapshot.ef_search()


def edit(catalog: Catalog, value: int) -> None:
    """Changes the file as another process does that opens it for this and closes it again."""
    with contextlib.closing(sqlite3.connect(catalog.path)) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'ef_search'", (value,))
        connection.commit()
    assert os.listdir(catalog.folder) == ["catalog.sqlite"]


def test_each_transaction_sees_what_is_there_when_it_begins(reader: Catalog) -> None:
    for value in (7, 8, 9):
        edit(reader, value)
        assert ef_search(reader) == value


def test_a_change_during_a_transaction_is_found_out(reader: Catalog) -> None:
    told = r"catalog\.sqlite: was changed while it was read; try again$"
    with pytest.raises(ChangedWhileReadError, match=told), reader.read() as snapshot:  # noqa: PT012
        assert snapshot.ef_search() != 7
        edit(reader, 7)
    assert ef_search(reader) == 7


def _damaged(snapshot: Snapshot) -> None:
    raise sqlite3.DatabaseError("database disk image is malformed")


def _strange(snapshot: Snapshot) -> None:
    raise ArtifactError(snapshot.path, "holds a descriptor that has not 4 dimensions")


@pytest.mark.parametrize("consequence", [_damaged, _strange])
def test_what_follows_from_half_a_change_is_told_as_such(
    reader: Catalog, consequence: Callable[[Snapshot], None]
) -> None:
    with pytest.raises(ChangedWhileReadError), reader.read() as snapshot:  # noqa: PT012
        edit(reader, 7)
        consequence(snapshot)
    with pytest.raises(ArtifactError) as caught, reader.read() as snapshot:
        consequence(snapshot)
    assert not isinstance(caught.value, ChangedWhileReadError)


def test_a_clock_that_steps_back_hides_no_change(reader: Catalog) -> None:
    before = os.stat(reader.path)
    assert ef_search(reader) != 7
    edit(reader, 7)
    os.utime(reader.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ef_search(reader) == 7
    edit(reader, 8)
    os.utime(reader.path, ns=(0, 0))
    assert ef_search(reader) == 8


def test_a_file_that_was_just_changed_is_read_one_tick_later(reader: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.time_ns", lambda: os.stat(reader.path).st_ctime_ns + len(slept) * 10**7)
    edit(reader, 7)
    assert (ef_search(reader), len(slept)) == (7, 2)


def test_what_is_in_a_log_is_read_under_locks(reader: Catalog) -> None:
    assert ef_search(reader) != 7
    with contextlib.closing(sqlite3.connect(reader.path)) as writer:
        writer.execute("UPDATE meta SET value = '7' WHERE key = 'ef_search'")
        writer.commit()
        with reader.read() as snapshot:
            assert snapshot.ef_search() == 7
            writer.execute("UPDATE meta SET value = '8' WHERE key = 'ef_search'")
            writer.commit()
            writer.execute("PRAGMA wal_checkpoint")
            assert snapshot.ef_search() == 7
        assert ef_search(reader) == 8
    assert ef_search(reader) == 8


def test_a_log_without_content_is_none(reader: Catalog, tmp_path: Path) -> None:
    """A writer that was killed as it began leaves such a log, and no shared memory."""
    (tmp_path / "catalog.sqlite-wal").touch()
    assert ef_search(reader) == IndexConfig().ef_search
    assert sorted(os.listdir(tmp_path)) == ["catalog.sqlite", "catalog.sqlite-wal"]


def test_a_catalog_that_is_gone_is_named(reader: Catalog) -> None:
    os.unlink(reader.path)
    with pytest.raises(ArtifactError, match=r"catalog\.sqlite: cannot be read: No such file or directory$"):
        ef_search(reader)
