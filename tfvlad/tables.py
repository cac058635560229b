"""The catalog's tables and every query over them, one transaction at a time.

A `Snapshot` reads one consistent state of the catalog; a `Change` also writes. Both live inside a transaction that
`tfvlad.catalog.Catalog` opens and ends.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.errors import ArtifactError
from tfvlad.roots import Root

WHOLE = "whole"  # the view of an image that is the whole picture, upright

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE roots (id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL, relative BLOB NOT NULL);
CREATE TABLE images (
  id INTEGER PRIMARY KEY AUTOINCREMENT, root INTEGER NOT NULL REFERENCES roots, path BLOB NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 BLOB NOT NULL, UNIQUE (root, path));
CREATE INDEX images_by_content ON images (sha256);
CREATE TABLE descriptors (
  id INTEGER PRIMARY KEY AUTOINCREMENT, image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
  view TEXT NOT NULL, vector BLOB NOT NULL, UNIQUE (image, view));
CREATE TABLE removals (id INTEGER PRIMARY KEY AUTOINCREMENT, descriptor INTEGER NOT NULL);
CREATE TRIGGER remember_removal AFTER DELETE ON descriptors
BEGIN INSERT INTO removals (descriptor) VALUES (old.id); END;
CREATE TABLE failures (
  id INTEGER PRIMARY KEY AUTOINCREMENT, root INTEGER NOT NULL REFERENCES roots, path BLOB NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT NOT NULL, UNIQUE (root, path));
CREATE TABLE graphs (
  sha256 TEXT PRIMARY KEY, last_descriptor INTEGER NOT NULL, last_removal INTEGER NOT NULL, dead INTEGER NOT NULL);
"""

_LARGEST = 2**63 - 1  # of SQLite's integers

Ids = NDArray[np.int64]
Views = Sequence[tuple[str, bytes]]  # (view, little-endian float32) per descriptor of an image


class State(NamedTuple):
    """What the catalog has seen happen to its descriptors: both counters only grow, so equal states are equal sets."""

    last_descriptor: int = 0
    last_removal: int = 0


class Stamp(NamedTuple):
    """What tells that a file has not changed, without reading it: bytes and nanoseconds."""

    size: int
    mtime_ns: int


class ImageRow(NamedTuple):
    id: int
    stamp: Stamp
    sha256: bytes


class FailureRow(NamedTuple):
    id: int
    stamp: Stamp
    reason: str


class GraphRow(NamedTuple):
    state: State
    dead: int  # labels in the graph that are marked deleted


class Block(NamedTuple):
    descriptors: Ids  # (n,)
    images: Ids  # (n,)
    vectors: NDArray[np.float32]  # (n, dim)


def to_blob(vector: ArrayLike) -> bytes:
    """A (dim,) descriptor as it is stored."""
    return np.asarray(vector, dtype="<f4").tobytes()


class Snapshot:
    """Reads one state of the catalog."""

    def __init__(self, connection: sqlite3.Connection, path: str, dim: int) -> None:
        self._connection = connection
        self._path = path
        self._dim = dim

    def state(self) -> State:
        rows = self._connection.execute("SELECT name, seq FROM sqlite_sequence")
        last: dict[str, int] = dict(rows.fetchall())
        return State(last.get("descriptors", 0), last.get("removals", 0))

    def count_images(self, root: int | None = None) -> int:
        if root is None:
            return self._number("SELECT COUNT(*) FROM images")
        return self._number("SELECT COUNT(*) FROM images WHERE root = ?", root)

    def count_descriptors(self) -> int:
        return self._number("SELECT COUNT(*) FROM descriptors")

    def has_descriptors(self, at_least: int) -> bool:
        """Whether there are so many; costs no more than counting to there."""
        query = "SELECT 1 FROM descriptors LIMIT 1 OFFSET ?"
        return self._connection.execute(query, (min(at_least - 1, _LARGEST),)).fetchone() is not None

    def roots(self) -> list[Root]:
        rows = self._connection.execute("SELECT id, path, relative FROM roots ORDER BY id")
        return [Root(root, os.fsdecode(path), os.fsdecode(relative)) for root, path, relative in rows]

    def image_ids(self, root: int) -> Ids:
        return self._column("SELECT id FROM images WHERE root = ?", root)

    def failure_ids(self, root: int) -> Ids:
        return self._column("SELECT id FROM failures WHERE root = ?", root)

    def descriptor_ids(self) -> Ids:
        return self._column("SELECT id FROM descriptors ORDER BY id")

    def removed_since(self, state: State) -> Ids:
        """Descriptors that were there at `state` and no longer are."""
        query = "SELECT descriptor FROM removals WHERE id > ? AND descriptor <= ? ORDER BY id"
        return self._column(query, state.last_removal, state.last_descriptor)

    def find_image(self, root: int, path: str) -> ImageRow | None:
        query = "SELECT id, size, mtime_ns, sha256 FROM images WHERE root = ? AND path = ?"
        row = self._connection.execute(query, (root, os.fsencode(path))).fetchone()
        return ImageRow(row[0], Stamp(row[1], row[2]), row[3]) if row else None

    def find_failure(self, root: int, path: str) -> FailureRow | None:
        query = "SELECT id, size, mtime_ns, reason FROM failures WHERE root = ? AND path = ?"
        row = self._connection.execute(query, (root, os.fsencode(path))).fetchone()
        return FailureRow(row[0], Stamp(row[1], row[2]), row[3]) if row else None

    def find_graph(self, sha256: str) -> GraphRow | None:
        query = "SELECT last_descriptor, last_removal, dead FROM graphs WHERE sha256 = ?"
        row = self._connection.execute(query, (sha256,)).fetchone()
        return GraphRow(State(row[0], row[1]), row[2]) if row else None

    def views_of_content(self, sha256: bytes) -> Views:
        """The descriptors of one image that has these bytes; empty where none has."""
        query = """SELECT view, vector FROM descriptors
                   WHERE image = (SELECT id FROM images WHERE sha256 = ? LIMIT 1) ORDER BY id"""
        return self._connection.execute(query, (sha256,)).fetchall()

    def images_page(self, after: int, size: int) -> list[tuple[int, int, str]]:
        """The next `size` images by id, as (id, root, relative path)."""
        rows = self._connection.execute(
            "SELECT id, root, path FROM images WHERE id > ? ORDER BY id LIMIT ?", (after, size)
        )
        return [(image, root, os.fsdecode(path)) for image, root, path in rows]

    def locate_images(self, images: Ids) -> Iterator[tuple[int, int, str]]:
        """Those images that are there, as (id, root, relative path)."""
        query = "SELECT id, root, path FROM images WHERE id IN (SELECT value FROM json_each(?))"
        for image, root, path in self._connection.execute(query, (_json(images),)):
            yield image, root, os.fsdecode(path)

    def images_of(self, descriptors: Ids) -> Ids:
        """The image of each descriptor; -1 for a descriptor that is not there. Any shape."""
        wanted, places = np.unique(descriptors, return_inverse=True)
        query = "SELECT id, image FROM descriptors WHERE id IN (SELECT value FROM json_each(?))"
        rows = np.array(self._connection.execute(query, (_json(wanted),)).fetchall(), dtype=np.int64).reshape(-1, 2)
        images = np.full(wanted.shape, -1, dtype=np.int64)
        images[np.searchsorted(wanted, rows[:, 0])] = rows[:, 1]
        return images[places].reshape(descriptors.shape)

    def blocks(self, size: int, after: int = 0) -> Iterator[Block]:
        """Descriptors with an id above `after`, by id, in blocks of at most `size`."""
        yield from self._blocks("SELECT id, image, vector FROM descriptors WHERE id > ? ORDER BY id", after, size)

    def block_of(self, descriptors: Ids) -> Block:
        """These descriptors (those that are there), by id."""
        query = """SELECT id, image, vector FROM descriptors
                   WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"""
        empty = Block(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, self._dim), np.float32))
        return next(self._blocks(query, _json(descriptors), max(1, descriptors.size)), empty)

    def _blocks(self, query: str, parameter: int | str, size: int) -> Iterator[Block]:
        cursor = self._connection.execute(query, (parameter,))
        while rows := cursor.fetchmany(size):
            descriptors, images, blobs = zip(*rows, strict=True)
            if set(map(len, blobs)) != {4 * self._dim}:
                raise ArtifactError(self._path, f"holds a descriptor that has not {self._dim} dimensions")
            vectors = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, self._dim)
            yield Block(np.array(descriptors, dtype=np.int64), np.array(images, dtype=np.int64), vectors)

    def _number(self, query: str, *parameters: int) -> int:
        return int(self._connection.execute(query, parameters).fetchone()[0])

    def _column(self, query: str, *parameters: int) -> Ids:
        rows = self._connection.execute(query, parameters)
        return np.fromiter((row[0] for row in rows), dtype=np.int64)


class Change(Snapshot):
    """Reads and writes, all or nothing."""

    def put_root(self, root: Root) -> int:
        """Adds a root (a negative id), or tells where it is now; returns its id."""
        values = (os.fsencode(root.path), os.fsencode(root.relative))
        if root.id < 0:
            return self._insert("INSERT INTO roots (path, relative) VALUES (?, ?)", values)
        self._connection.execute("UPDATE roots SET path = ?, relative = ? WHERE id = ?", (*values, root.id))
        return root.id

    def put_image(self, root: int, path: str, stamp: Stamp, sha256: bytes, views: Views) -> int:
        """Adds an image, or gives it new descriptors in the place of its old ones; returns its id."""
        if any(len(vector) != 4 * self._dim for _, vector in views):
            raise ValueError(f"a descriptor of this index has {self._dim} dimensions, {4 * self._dim} bytes")
        known = self.find_image(root, path)
        if known is None:
            query = "INSERT INTO images (root, path, size, mtime_ns, sha256) VALUES (?, ?, ?, ?, ?)"
            image = self._insert(query, (root, os.fsencode(path), *stamp, sha256))
        else:
            image = known.id
            query = "UPDATE images SET size = ?, mtime_ns = ?, sha256 = ? WHERE id = ?"
            self._connection.execute(query, (*stamp, sha256, image))
            self._connection.execute("DELETE FROM descriptors WHERE image = ?", (image,))
        rows = ((image, view, vector) for view, vector in views)
        self._connection.executemany("INSERT INTO descriptors (image, view, vector) VALUES (?, ?, ?)", rows)
        self._connection.execute("DELETE FROM failures WHERE root = ? AND path = ?", (root, os.fsencode(path)))
        return image

    def touch_image(self, image: int, stamp: Stamp) -> None:
        self._connection.execute("UPDATE images SET size = ?, mtime_ns = ? WHERE id = ?", (*stamp, image))

    def put_failure(self, root: int, path: str, stamp: Stamp, reason: str) -> None:
        """Remembers why a file is no image, and removes what was indexed of it."""
        self._connection.execute("DELETE FROM images WHERE root = ? AND path = ?", (root, os.fsencode(path)))
        query = """INSERT INTO failures (root, path, size, mtime_ns, reason) VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT (root, path) DO UPDATE
                   SET size = excluded.size, mtime_ns = excluded.mtime_ns, reason = excluded.reason"""
        self._connection.execute(query, (root, os.fsencode(path), *stamp, reason))

    def remove_images(self, images: Ids) -> None:
        self._connection.execute("DELETE FROM images WHERE id IN (SELECT value FROM json_each(?))", (_json(images),))

    def remove_failures(self, failures: Ids) -> None:
        self._connection.execute(
            "DELETE FROM failures WHERE id IN (SELECT value FROM json_each(?))", (_json(failures),)
        )

    def put_graph(self, sha256: str, graph: GraphRow) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO graphs VALUES (?, ?, ?, ?)", (sha256, *graph.state, graph.dead)
        )

    def forget_other_graphs(self, sha256: str) -> None:
        self._connection.execute("DELETE FROM graphs WHERE sha256 != ?", (sha256,))

    def _insert(self, query: str, values: Iterable[object]) -> int:
        row = self._connection.execute(query, tuple(values)).lastrowid
        assert row is not None  # an INSERT always has one
        return row


def _json(ids: Ids) -> str:
    return json.dumps(ids.tolist())
