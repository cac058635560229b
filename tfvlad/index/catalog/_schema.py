"""The catalog's formats: their tables and triggers, and the check that a file has these and no others.

Format 2 is format 1 with the tables ``local_features`` and ``hubness``, and some settings more. Format 3 also has the
inode and the time of the last change (ctime) of each file. A catalog of an earlier format is read as it is, and brought
to the present one when it is synchronised.

Files with equal bytes share one image and its descriptors. Were the same descriptor many times in the graph, its copies
would be linked to each other only, and a search that came among them would find nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Mapping

from tfvlad.config import LARGEST_DIM
from tfvlad.errors import ArtifactError

FORMAT = 3

# The largest numbers that the format and hnswlib allow: memory is allocated by these settings, and anybody may have
# written them.
_LARGEST = {"dim": LARGEST_DIM, "m": 10_000, "ef_construction": 1 << 31, "ef_search": 1 << 31}

_FORMAT_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE roots (id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL, relative BLOB NOT NULL);
CREATE TABLE images (id INTEGER PRIMARY KEY AUTOINCREMENT, sha256 BLOB NOT NULL UNIQUE);
CREATE TABLE files (
  id INTEGER PRIMARY KEY AUTOINCREMENT, root INTEGER NOT NULL REFERENCES roots, path BLOB NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, image INTEGER NOT NULL REFERENCES images, UNIQUE (root, path));
CREATE INDEX files_by_image ON files (image);
CREATE TABLE descriptors (
  id INTEGER PRIMARY KEY AUTOINCREMENT, image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
  view TEXT NOT NULL, vector BLOB NOT NULL, UNIQUE (image, view));
CREATE TABLE removals (id INTEGER PRIMARY KEY AUTOINCREMENT, descriptor INTEGER NOT NULL);
CREATE TRIGGER remember_removal AFTER DELETE ON descriptors
BEGIN INSERT INTO removals (descriptor) VALUES (old.id); END;
CREATE TRIGGER forget_image_of_removed_file AFTER DELETE ON files
WHEN NOT EXISTS (SELECT 1 FROM files WHERE image = old.image) BEGIN DELETE FROM images WHERE id = old.image; END;
CREATE TRIGGER forget_image_of_changed_file AFTER UPDATE OF image ON files
WHEN NOT EXISTS (SELECT 1 FROM files WHERE image = old.image) BEGIN DELETE FROM images WHERE id = old.image; END;
CREATE TABLE failures (
  id INTEGER PRIMARY KEY AUTOINCREMENT, root INTEGER NOT NULL REFERENCES roots, path BLOB NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT NOT NULL, UNIQUE (root, path));
CREATE TABLE graphs (
  sha256 TEXT PRIMARY KEY, last_descriptor INTEGER NOT NULL, last_removal INTEGER NOT NULL, dead INTEGER NOT NULL);
"""

# What a catalog of the format before lacks, one statement a line.
ADDED_IN = {
    2: """
CREATE TABLE local_features (image INTEGER PRIMARY KEY REFERENCES images ON DELETE CASCADE, data BLOB NOT NULL);
CREATE TABLE hubness (descriptor INTEGER PRIMARY KEY REFERENCES descriptors ON DELETE CASCADE, value REAL NOT NULL);
""",
    3: """
ALTER TABLE files ADD COLUMN inode INTEGER;
ALTER TABLE files ADD COLUMN ctime_ns INTEGER;
ALTER TABLE failures ADD COLUMN inode INTEGER;
ALTER TABLE failures ADD COLUMN ctime_ns INTEGER;
""",
}


def schema(version: int) -> str:
    """The statements that make an empty catalog of a format."""
    return _FORMAT_1 + "".join(ADDED_IN[step] for step in range(2, version + 1))


# Triggers and views hold code, so none is left out, whatever its name; SQLite's own tables and indexes are.
_PARTS = """SELECT type, name, sql FROM sqlite_schema
            WHERE type NOT IN ('table', 'index') OR substr(name, 1, 7) != 'sqlite_'"""

Parts = frozenset[tuple[str, str, str]]


def check_schema(connection: sqlite3.Connection, path: str, version: int) -> None:
    """Makes sure that a catalog has exactly the tables, indexes and triggers of its format.

    Raises:
      ArtifactError: names the first that is missing, changed or foreign.
    """
    found = _parts(connection)
    strange = sorted(f"{kind} {name}" for kind, name, _ in found ^ _expected(version))
    if strange:
        raise ArtifactError(path, f"is not the catalog of an index: {strange[0]} is not as tfvlad makes it")


def setting(meta: Mapping[str, str], name: str) -> int:
    """Reads a number from the rows of the table ``meta``.

    Raises:
      KeyError: there is no such row.
      ValueError: its value is not a number, or is out of range.
    """
    number = int(meta[name])
    if not 1 <= number <= _LARGEST[name]:
        raise ValueError(f"{name} is {number}")
    return number


@functools.cache
def _expected(version: int) -> Parts:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema(version))
        return _parts(connection)


def _parts(connection: sqlite3.Connection) -> Parts:
    return frozenset(connection.execute(_PARTS).fetchall())
