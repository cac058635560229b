"""Every query that reads the catalog: the methods of a `Snapshot`."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfvlad.errors import ArtifactError
from tfvlad.images.views import parse_views
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog._columns import Columns, known_or_average
from tfvlad.index.catalog._rows import Block, EncodedView, FailureRow, FileRow, GraphRow, Ids, Kept, Stamp, State
from tfvlad.index.catalog._schema import setting
from tfvlad.index.catalog._vectors_file import VectorsFile, VectorsRow
from tfvlad.matching.local_features import MOST_CELLS

_LARGEST = 2**63 - 1  # of SQLite's integers
_NO_HUBNESS = "holds a hubness that is no number"

Version = tuple[sqlite3.Connection, int, int]


class Snapshot:
    """Reads one consistent state of the catalog, inside a transaction of `tfvlad.index.catalog.Catalog`.

    Attributes:
      path: the catalog's file.
      columns: answers `images_of` and `hubness_of` from memory; None asks the file.
    """

    def __init__(self, connection: sqlite3.Connection, path: str, dim: int, vectors: VectorsFile) -> None:
        self.path = path
        self.columns: Columns | None = None
        self._connection = connection
        self._dim = dim
        self._vectors = vectors

    def version(self) -> Version:
        """Tells snapshots of `Catalog.watch` apart: equal versions see the same catalog. It reads no table."""
        # The first number counts the changes of this connection, the second those of all others, in every process.
        other_changes = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return self._connection, self._connection.total_changes, other_changes

    def ef_search(self) -> int:
        """The number of candidates that the graph keeps while it searches, see `tfvlad.IndexConfig`."""
        query = "SELECT key, value FROM meta WHERE key = 'ef_search'"
        try:
            return setting(dict(self._connection.execute(query).fetchall()), "ef_search")
        except (KeyError, ValueError) as error:
            raise ArtifactError(self.path, f"is damaged: its settings are incomplete ({error})") from error

    def kept(self) -> Kept:
        """What the index keeps of every image.

        Raises:
          ArtifactError: it is nothing that an index can keep.
        """
        query = "SELECT key, value FROM meta WHERE key IN ('views', 'local_features')"
        stored: dict[str, object] = dict(self._connection.execute(query).fetchall())
        try:
            cells = int(str(stored.get("local_features", 0)))
            if not 0 <= cells <= MOST_CELLS:
                raise ValueError(f"local_features is {cells}")
            kept = Kept(str(stored.get("views", "whole")), cells)
            parse_views(kept.views)
        except ValueError as error:
            raise ArtifactError(self.path, f"is damaged: {_one_line(error)}") from None
        return kept

    def format(self) -> int:
        """The catalog's format at present; another process may have brought it to a newer one since it was opened."""
        return self._number("SELECT value FROM meta WHERE key = 'format'")

    def hubness_measured(self) -> int:
        """How many descriptors there were when hubness was measured last; 0 if it never was."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'hubness'").fetchone()
        try:
            return int(row[0]) if row else 0
        except ValueError as error:
            raise ArtifactError(self.path, f"is damaged: {_one_line(error)}") from None

    def without_hubness(self) -> Ids:
        """The descriptors whose hubness has not been measured, by id; the catalog must be of the present format."""
        query = "SELECT id FROM descriptors WHERE id NOT IN (SELECT descriptor FROM hubness) ORDER BY id"
        return self._column(query)

    def hubness_of(self, descriptors: Ids) -> NDArray[np.float32]:
        """The hubness of each descriptor, in the shape of `descriptors`; the average where it has not been measured."""
        if self.columns is not None:
            if not self.columns.has_hubness:
                self.columns.put_hubness(*self.all_hubness())
            return self.columns.hubness_of(descriptors)
        if self.format() < 2:
            return np.zeros(descriptors.shape, np.float32)
        wanted, places = np.unique(descriptors, return_inverse=True)
        query = "SELECT descriptor, value FROM hubness WHERE descriptor IN (SELECT value FROM json_each(?))"
        stored = dict(self._connection.execute(query, (to_json(wanted),)).fetchall())
        if not all(isinstance(value, float) for value in stored.values()):
            raise ArtifactError(self.path, _NO_HUBNESS)
        values = np.array([stored.get(descriptor, np.nan) for descriptor in wanted.tolist()])
        known = values if np.isfinite(values).all() else self.all_hubness()[1]
        return known_or_average(values, known)[places].reshape(descriptors.shape)

    def all_hubness(self) -> tuple[Ids, NDArray[np.float64]]:
        """The descriptors whose hubness has been measured, in no order, and its values."""
        if self.format() < 2:
            return np.empty(0, np.int64), np.empty(0)
        rows = self._connection.execute("SELECT descriptor, value FROM hubness")
        try:
            table = np.fromiter(rows, np.dtype([("descriptor", np.int64), ("value", np.float64)]))
        except (TypeError, ValueError, OverflowError):
            raise ArtifactError(self.path, _NO_HUBNESS) from None
        return table["descriptor"], table["value"]

    def fill(self, columns: Columns) -> None:
        """Brings columns in line with this state, which is no older than theirs, and answers from them from now on."""
        state = self.state()
        if state != columns.state:
            known = columns.state if self.remembers(columns.state) else State()
            removed = self.removed_since(known) if known == columns.state else columns.descriptors
            columns.follow(state, removed, *self.owners(known.last_descriptor))
        columns.forget_hubness()
        self.columns = columns

    def owners(self, after: int = 0) -> tuple[Ids, Ids]:
        """The descriptors with an id above `after`, by id, and the image of each."""
        query = "SELECT id, image FROM descriptors"
        # Without a condition SQLite reads a narrow index, and none of the vectors.
        table = self._owners(f"{query} WHERE id > ?", after) if after else self._owners(query)
        table = table[np.argsort(table["descriptor"])]
        return np.ascontiguousarray(table["descriptor"]), np.ascontiguousarray(table["image"])

    def calibrations(self) -> object:
        """What `Change.put_calibrations` stored, as JSON has it; None if nothing was stored.

        Raises:
          ArtifactError: it is no JSON.
        """
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'calibration'").fetchone()
        try:
            return json.loads(row[0]) if row else None
        except (TypeError, ValueError, RecursionError):
            raise ArtifactError(self.path, "is damaged: its calibration is no JSON") from None

    def state(self) -> State:
        """The counters that tell which descriptors there are."""
        rows = self._connection.execute("SELECT name, seq FROM sqlite_sequence")
        last: dict[str, int] = dict(rows.fetchall())
        counters = last.get("descriptors", 0), last.get("removals", 0)
        if not all(isinstance(number, int) for number in counters):
            raise ArtifactError(self.path, f"is damaged: it counts its descriptors by {counters}")
        return State(*counters)

    def problems(self) -> list[str]:
        """What SQLite finds wrong with the file: damaged pages, broken constraints, rows that refer to nothing."""
        damaged = [str(row[0]) for row in self._connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        dangling = [
            f"a row of {row[0]} refers to nothing" for row in self._connection.execute("PRAGMA foreign_key_check")
        ]
        return [_one_line(problem) for problem in damaged + dangling]

    def images_with_descriptors(self) -> int:
        """The number of images that have a descriptor."""
        return self._number("SELECT COUNT(DISTINCT image) FROM descriptors")

    def count_files(self, root: int | None = None) -> int:
        """The number of files, of one root or of all."""
        if root is None:
            return self._number("SELECT COUNT(*) FROM files")
        return self._number("SELECT COUNT(*) FROM files WHERE root = ?", root)

    def count_descriptors(self, after: int = 0) -> int:
        """The number of descriptors with an id above `after`."""
        return self._number("SELECT COUNT(*) FROM descriptors WHERE id > ?", after)

    def has_descriptors(self, at_least: int) -> bool:
        """Whether there are `at_least` so many descriptors; this takes no longer than counting so far."""
        query = "SELECT 1 FROM descriptors LIMIT 1 OFFSET ?"
        return self._connection.execute(query, (min(at_least - 1, _LARGEST),)).fetchone() is not None

    def roots(self) -> list[Root]:
        """Every folder that was synchronised, by id."""
        rows = self._connection.execute("SELECT id, path, relative FROM roots ORDER BY id")
        return [Root(root, self._folder(path), self._folder(relative)) for root, path, relative in rows]

    def file_ids(self, root: int) -> Ids:
        return self._column("SELECT id FROM files WHERE root = ?", root)

    def failure_ids(self, root: int) -> Ids:
        return self._column("SELECT id FROM failures WHERE root = ?", root)

    def last_file(self) -> int:
        """The highest id of a file that there ever was; files that are added later have higher ones."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'files'").fetchone()
        return int(row[0]) if row else 0

    def count_shown_anew(self, files: Ids, after: int) -> int:
        """How many of these files show an image that a file with an id above `after` shows, too, one for one."""
        query = """SELECT SUM(MIN(gone, added)) FROM (
                   SELECT SUM(id IN (SELECT value FROM json_each(?1))) AS gone, SUM(id > ?2) AS added FROM files
                   WHERE image IN (SELECT image FROM files WHERE id IN (SELECT value FROM json_each(?1)))
                   GROUP BY image)"""
        return int(self._connection.execute(query, (to_json(files), after)).fetchone()[0] or 0)

    def remembers(self, state: State) -> bool:
        """Whether the removals since `state` are all still recorded, see `Change.forget_removals`."""
        oldest = self._connection.execute("SELECT MIN(id) FROM removals").fetchone()[0]
        return state.last_removal >= (self.state().last_removal if oldest is None else oldest - 1)

    def descriptor_ids(self) -> Ids:
        return self._column("SELECT id FROM descriptors ORDER BY id")

    def removed_since(self, state: State) -> Ids:
        """The descriptors that were there at `state` and have been removed since."""
        query = "SELECT descriptor FROM removals WHERE id > ? AND descriptor <= ? ORDER BY id"
        return self._column(query, state.last_removal, state.last_descriptor)

    def find_file(self, root: int, path: str) -> FileRow | None:
        """A file by its root and its path in it; the catalog must be of the present format."""
        query = """SELECT files.id, sha256, size, mtime_ns, inode, ctime_ns FROM files JOIN images ON images.id = image
                   WHERE root = ? AND path = ?"""
        row = self._connection.execute(query, (root, os.fsencode(path))).fetchone()
        return FileRow(row[0], Stamp(*row[2:]), row[1]) if row else None

    def find_failure(self, root: int, path: str) -> FailureRow | None:
        """A file that is no image, likewise."""
        query = "SELECT id, reason, size, mtime_ns, inode, ctime_ns FROM failures WHERE root = ? AND path = ?"
        row = self._connection.execute(query, (root, os.fsencode(path))).fetchone()
        return FailureRow(row[0], Stamp(*row[2:]), _one_line(row[1])) if row else None

    def find_graph(self, sha256: str) -> GraphRow | None:
        query = "SELECT last_descriptor, last_removal, dead FROM graphs WHERE sha256 = ?"
        row = self._connection.execute(query, (sha256,)).fetchone()
        return GraphRow(State(row[0], row[1]), row[2]) if row else None

    def views_of_content(self, sha256: bytes) -> list[EncodedView]:
        """The encoded views of the image with these bytes; empty where there is no such image."""
        query = """SELECT view, vector FROM descriptors
                   WHERE image = (SELECT id FROM images WHERE sha256 = ?) ORDER BY id"""
        return [EncodedView(*row) for row in self._connection.execute(query, (sha256,))]

    def image_of_content(self, sha256: bytes) -> int | None:
        """The image with these bytes, if there is one."""
        row = self._connection.execute("SELECT id FROM images WHERE sha256 = ?", (sha256,)).fetchone()
        return int(row[0]) if row else None

    def image_of_file(self, file: int) -> int | None:
        """The image that a file shows, if there is such a file."""
        row = self._connection.execute("SELECT image FROM files WHERE id = ?", (min(file, _LARGEST),)).fetchone()
        return int(row[0]) if row else None

    def incomplete_files(self, root: int, views: Sequence[str], local_features: bool) -> Ids:
        """The files of a root whose image lacks one of these views, or its local features where they are asked for."""
        query = """SELECT id FROM files WHERE root = ? AND (
                   (SELECT COUNT(*) FROM descriptors WHERE descriptors.image = files.image
                    AND view IN (SELECT value FROM json_each(?))) < ?"""
        if local_features:
            query += " OR NOT EXISTS (SELECT 1 FROM local_features WHERE local_features.image = files.image)"
        return self._column(query + ")", root, json.dumps(list(views)), len(views))

    def has_local_features(self, sha256: bytes) -> bool:
        """Whether the local features of the image with these bytes are kept; the index must keep some."""
        query = "SELECT 1 FROM local_features WHERE image = (SELECT id FROM images WHERE sha256 = ?)"
        return self._connection.execute(query, (sha256,)).fetchone() is not None

    def local_features_of(self, images: Ids) -> Iterator[tuple[int, bytes]]:
        """The kept local features of these images, as (image, bytes that anybody may have made), in no order."""
        if not self.kept().local_features:
            return
        query = "SELECT image, data FROM local_features WHERE image IN (SELECT value FROM json_each(?))"
        for image, data in self._connection.execute(query, (to_json(images),)):
            if not isinstance(data, bytes):
                raise ArtifactError(self.path, f"holds local features that are no bytes, of image {image}")
            yield image, data

    def image_ids(self) -> Ids:
        return self._column("SELECT id FROM images ORDER BY id")

    def images_with_local_features(self) -> Ids:
        """Every image whose local features are kept, by id."""
        kept = self.kept().local_features
        return self._column("SELECT image FROM local_features ORDER BY image") if kept else np.empty(0, np.int64)

    def view_names(self, descriptors: Ids) -> dict[int, str]:
        """The view of each of these descriptors; ids that are not there are left out."""
        query = "SELECT id, view FROM descriptors WHERE id IN (SELECT value FROM json_each(?))"
        rows = self._connection.execute(query, (to_json(np.unique(descriptors)),))
        return {descriptor: _one_line(view) for descriptor, view in rows}

    def files_page(self, after: int, size: int) -> list[tuple[int, int, str]]:
        """The next `size` files by id, as (id, root, relative path)."""
        query = "SELECT id, root, path FROM files WHERE id > ? ORDER BY id LIMIT ?"
        rows = self._connection.execute(query, (after, size))
        return [(file, root, self._inside(path)) for file, root, path in rows]

    def files_by_id(self) -> Iterator[tuple[int, int, int, str]]:
        """All files by id, as (id, image, root, relative path)."""
        for file, image, root, path in self._connection.execute("SELECT id, image, root, path FROM files ORDER BY id"):
            yield file, image, root, self._inside(path)

    def locate_files(self, files: Ids) -> Iterator[tuple[int, int, str]]:
        """The files with these ids, as (id, root, relative path); ids that are not there are left out."""
        query = "SELECT id, root, path FROM files WHERE id IN (SELECT value FROM json_each(?))"
        for file, root, path in self._connection.execute(query, (to_json(files),)):
            yield file, root, self._inside(path)

    def files_of(self, images: Ids) -> Iterator[tuple[int, int, int, str]]:
        """All files that show one of these images, by id, as (image, id, root, relative path)."""
        query = """SELECT image, id, root, path FROM files
                   WHERE image IN (SELECT value FROM json_each(?)) ORDER BY id"""
        for image, file, root, path in self._connection.execute(query, (to_json(images),)):
            yield image, file, root, self._inside(path)

    def stamps_of(self, files: Ids) -> dict[int, Stamp]:
        """The size and the modification time of these files when they were indexed, of those that there are."""
        query = "SELECT id, size, mtime_ns FROM files WHERE id IN (SELECT value FROM json_each(?))"
        return {file: Stamp(size, time) for file, size, time in self._connection.execute(query, (to_json(files),))}

    def images_of_several_files(self) -> Ids:
        """The images that more than one file shows, by id."""
        return self._column("SELECT image FROM files GROUP BY image HAVING COUNT(*) > 1 ORDER BY image")

    def failures(self) -> Iterator[tuple[int, str, str]]:
        """Every file that is no image, as (root, relative path, reason)."""
        for root, path, reason in self._connection.execute("SELECT root, path, reason FROM failures"):
            yield root, self._inside(path), _one_line(reason)

    def images_of(self, descriptors: Ids) -> Ids:
        """The image of each descriptor, in the shape of `descriptors`; -1 for a descriptor that is not there."""
        if self.columns is not None:
            return self.columns.images_of(descriptors)
        wanted, places = np.unique(descriptors, return_inverse=True)
        query = "SELECT id, image FROM descriptors WHERE id IN (SELECT value FROM json_each(?))"
        table = self._owners(query, to_json(wanted))
        images = np.full(wanted.shape, -1, dtype=np.int64)
        images[np.searchsorted(wanted, table["descriptor"])] = table["image"]
        return images[places].reshape(descriptors.shape)

    def blocks(self, size: int, after: int = 0) -> Iterator[Block]:
        """The descriptors with an id above `after`, by id, in blocks of at most `size`.

        Raises:
          ArtifactError: a descriptor is not `dim` finite numbers.
        """
        row = self.vectors_row()
        if row is not None and after < row.state.last_descriptor and self.remembers(row.state):
            with self._vectors.opened(row) as file:
                if file is not None:
                    yield from file.blocks(size, after, self.removed_since(row.state))
                    after = row.state.last_descriptor
        yield from self._blocks("SELECT id, image, vector FROM descriptors WHERE id > ? ORDER BY id", (after,), size)

    def vectors_row(self) -> VectorsRow | None:
        """What was recorded last of the file of descriptors; None if nothing was, or nothing that makes sense."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'vectors'").fetchone()
        try:
            sha256, *state = json.loads(row[0])
            return VectorsRow(str(sha256), State(*map(int, state)))
        except (TypeError, ValueError, RecursionError):
            return None

    def identity(self) -> str | None:
        """What tells this index from others with the same encoder, 16 hexadecimal digits; None before it was needed."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
        return str(row[0]) if row and re.fullmatch("[0-9a-f]{16}", str(row[0])) else None

    def view_of_images(self, images: Ids, view: str) -> Block:
        """The descriptors of one view of these images, by id; images that lack it are left out."""
        query = """SELECT id, image, vector FROM descriptors
                   WHERE image IN (SELECT value FROM json_each(?)) AND view = ? ORDER BY id"""
        empty = Block(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, self._dim), np.float32))
        return next(self._blocks(query, (to_json(images), view), max(1, images.size)), empty)

    def block_of(self, descriptors: Ids) -> Block:
        """The descriptors with these ids, by id; ids that are not there are left out."""
        query = """SELECT id, image, vector FROM descriptors
                   WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"""
        empty = Block(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, self._dim), np.float32))
        return next(self._blocks(query, (to_json(descriptors),), max(1, descriptors.size)), empty)

    def _blocks(self, query: str, parameters: tuple[int | str, ...], size: int) -> Iterator[Block]:
        cursor = self._connection.execute(query, parameters)
        while rows := cursor.fetchmany(size):
            descriptors, images, blobs = zip(*rows, strict=True)
            if {(type(blob), len(blob)) for blob in blobs} != {(bytes, 4 * self._dim)}:
                raise ArtifactError(self.path, f"holds a descriptor that has not {self._dim} dimensions")
            vectors = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, self._dim)
            if not np.isfinite(vectors).all():
                raise ArtifactError(self.path, "holds a descriptor with NaN or infinite values")
            yield Block(np.array(descriptors, dtype=np.int64), np.array(images, dtype=np.int64), vectors)

    def _owners(self, query: str, *parameters: int | str) -> NDArray[Any]:
        rows = self._connection.execute(query, parameters)
        try:
            return np.fromiter(rows, np.dtype([("descriptor", np.int64), ("image", np.int64)]))
        except (TypeError, ValueError, OverflowError):
            raise ArtifactError(self.path, "holds a descriptor that is of no image") from None

    def _inside(self, path: bytes) -> str:
        """Turns a stored path into text, if it stays inside its root.

        Raises:
          ArtifactError: the path is absolute, climbs out of the root, or is no path.
        """
        name = os.fsdecode(path) if isinstance(path, bytes) else ""
        climbs = os.pardir in name and os.pardir in name.split(os.sep)
        if not name or "\0" in name or os.path.isabs(name) or climbs:
            raise ArtifactError(self.path, f"holds a path that leads out of its folder: {path!r:.200}")
        return name

    def _folder(self, path: bytes) -> str:
        if not isinstance(path, bytes) or b"\0" in path:
            raise ArtifactError(self.path, f"holds a folder that is no path: {path!r:.200}")
        return os.fsdecode(path)

    def _number(self, query: str, *parameters: int) -> int:
        return int(self._connection.execute(query, parameters).fetchone()[0])

    def _column(self, query: str, *parameters: int | str) -> Ids:
        rows = self._connection.execute(query, parameters)
        return np.fromiter((row[0] for row in rows), dtype=np.int64)


def _one_line(reason: object) -> str:
    """A stored reason as one line, without characters that could end the line or steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(reason)).split())


def to_json(ids: Ids) -> str:
    """Ids as the JSON array that a query takes apart again with ``json_each``."""
    return json.dumps(ids.tolist())
