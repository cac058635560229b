"""The catalog's format: its tables, and the check that a file has these and nothing else.

A file is a path that was indexed; an image is what its bytes show. Equal files share one image and its descriptors: a
graph that held a descriptor many times would lead searches into the copies and never out again.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Mapping

from tfvlad.errors import ArtifactError

FORMAT = 1

# What the format can say, and hnswlib hold, so that nothing is allocated by a number that somebody made up.
_LARGEST = {"dim": 1 << 24, "m": 10_000, "ef_construction": 1 << 31, "ef_search": 1 << 31}

SCHEMA = """
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

# SQLite's own tables hold no code; triggers and views could, whatever they are called.
_PARTS = """SELECT type, name, sql FROM sqlite_schema
            WHERE type NOT IN ('table', 'index') OR substr(name, 1, 7) != 'sqlite_'"""

Parts = frozenset[tuple[str, str, str]]


def check_schema(connection: sqlite3.Connection, path: str) -> None:
    """Makes sure that a catalog has exactly our tables, and no trigger or view of somebody else's.

    Raises:
      ArtifactError: names what is missing or foreign.
    """
    found = _parts(connection)
    strange = sorted(f"{kind} {name}" for kind, name, _ in found ^ _expected())
    if strange:
        raise ArtifactError(path, f"is not the catalog of an index: {strange[0]} is not as tfvlad makes it")


def setting(meta: Mapping[str, str], name: str) -> int:
    """A number from the table ``meta``.

    Raises:
      KeyError: it is not there.
      ValueError: it is no number, or one that no index has.
    """
    number = int(meta[name])
    if not 1 <= number <= _LARGEST[name]:
        raise ValueError(f"{name} is {number}")
    return number


@functools.cache
def _expected() -> Parts:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        return _parts(connection)


def _parts(connection: sqlite3.Connection) -> Parts:
    return frozenset(connection.execute(_PARTS).fetchall())
