"""Every query that writes to the catalog: the methods of a `Change`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence

from tfvlad.images.views import parse_views
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog._reading import Snapshot, to_json
from tfvlad.index.catalog._rows import EncodedView, GraphRow, Ids, Kept, Stamp, State
from tfvlad.index.catalog._schema import ADDED_IN, FORMAT
from tfvlad.index.catalog._vectors_file import VectorsRow

_MOST_FREE = 0.25  # share of the file's pages


class Change(Snapshot):
    """Reads and writes inside a transaction of `tfvlad.index.catalog.Catalog`; it happens whole or not at all."""

    def upgrade(self) -> None:
        """Brings a catalog of an earlier format to the present one."""
        for step in range(self.format() + 1, FORMAT + 1):
            for statement in ADDED_IN[step].strip().splitlines():
                self._connection.execute(statement)
            self._put_setting("format", step)

    def put_root(self, root: Root) -> int:
        """Adds a root, whose id is negative then, or updates where a known one is; returns its id."""
        values = (os.fsencode(root.path), os.fsencode(root.relative))
        if root.id < 0:
            return self._insert("INSERT INTO roots (path, relative) VALUES (?, ?)", values)
        self._connection.execute("UPDATE roots SET path = ?, relative = ? WHERE id = ?", (*values, root.id))
        return root.id

    def remove_root(self, root: int) -> None:
        """Removes a root with all its files and failures, and the images that no other file shows."""
        for table in ("files", "failures"):
            self._connection.execute(f"DELETE FROM {table} WHERE root = ?", (root,))
        self._connection.execute("DELETE FROM roots WHERE id = ?", (root,))

    def put_file(
        self,
        root: int,
        path: str,
        stamp: Stamp,
        sha256: bytes,
        views: Sequence[EncodedView],
        local_features: bytes | None = None,
    ) -> int:
        """Adds a file, or updates what a known file contains; returns its id.

        Args:
          root: id of the file's root.
          path: the file, relative to the root.
          stamp: of the bytes.
          sha256: of the bytes.
          views: the encoded views of what the bytes show. Views that the image has already are left as they are, so
            none is needed where another file has the same bytes.
          local_features: of what the bytes show; None where they are there already, or not kept.
        """
        if any(len(vector) != 4 * self._dim for _, vector in views):
            raise ValueError(f"a descriptor of this index has {self._dim} dimensions, {4 * self._dim} bytes")
        image, known = self._put_image(sha256, views), self.find_file(root, path)
        if local_features is not None:
            self._connection.execute("INSERT OR IGNORE INTO local_features VALUES (?, ?)", (image, local_features))
        if known is None:
            query = """INSERT INTO files (root, path, size, mtime_ns, inode, ctime_ns, image)
                       VALUES (?, ?, ?, ?, ?, ?, ?)"""
            file = self._insert(query, (root, os.fsencode(path), *stamp, image))
        else:
            file = known.id
            query = "UPDATE files SET size = ?, mtime_ns = ?, inode = ?, ctime_ns = ?, image = ? WHERE id = ?"
            self._connection.execute(query, (*stamp, image, file))
        self._connection.execute("DELETE FROM failures WHERE root = ? AND path = ?", (root, os.fsencode(path)))
        return file

    def touch_file(self, file: int, stamp: Stamp) -> None:
        """Gives a file with the same bytes a new stamp."""
        query = "UPDATE files SET size = ?, mtime_ns = ?, inode = ?, ctime_ns = ? WHERE id = ?"
        self._connection.execute(query, (*stamp, file))

    def put_failure(self, root: int, path: str, stamp: Stamp, reason: str) -> None:
        """Stores why a file is no image, and removes the file if it was indexed."""
        self._connection.execute("DELETE FROM files WHERE root = ? AND path = ?", (root, os.fsencode(path)))
        query = """INSERT INTO failures (root, path, size, mtime_ns, inode, ctime_ns, reason)
                   VALUES (?, ?, ?, ?, ?, ?, ?)
                   ON CONFLICT (root, path) DO UPDATE
                   SET size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
                       ctime_ns = excluded.ctime_ns, reason = excluded.reason"""
        self._connection.execute(query, (root, os.fsencode(path), *stamp, reason))

    def remove_files(self, files: Ids) -> None:
        self._connection.execute("DELETE FROM files WHERE id IN (SELECT value FROM json_each(?))", (to_json(files),))

    def remove_failures(self, failures: Ids) -> None:
        self._connection.execute(
            "DELETE FROM failures WHERE id IN (SELECT value FROM json_each(?))", (to_json(failures),)
        )

    def put_kept(self, kept: Kept) -> None:
        """Changes what the index keeps of every image.

        What it keeps no longer is removed, what it lacks is to be encoded. The catalog must be of the present format.
        """
        for name, value in dataclasses.asdict(kept).items():
            self._put_setting(name, value)
        names = json.dumps([view.name for view in parse_views(kept.views)])
        self._connection.execute("DELETE FROM descriptors WHERE view NOT IN (SELECT value FROM json_each(?))", (names,))
        if not kept.local_features:
            self._connection.execute("DELETE FROM local_features")

    def put_hubness(self, values: Mapping[int, float], counted: int) -> None:
        """Stores the hubness of descriptors, and how many descriptors there were when it was measured.

        Descriptors that are not there any more are left out. The catalog must be of the present format.
        """
        query = "INSERT OR REPLACE INTO hubness SELECT id, ? FROM descriptors WHERE id = ?"
        self._connection.executemany(query, ((value, descriptor) for descriptor, value in values.items()))
        self._put_setting("hubness", counted)

    def put_calibrations(self, value: Mapping[str, object]) -> None:
        """Stores what numbers of inliers mean, as JSON; the catalog must be of the present format."""
        self._put_setting("calibration", json.dumps(value))

    def put_ef_search(self, ef_search: int) -> None:
        self._connection.execute("UPDATE meta SET value = ? WHERE key = 'ef_search'", (str(ef_search),))

    def put_vectors(self, row: VectorsRow | None) -> None:
        """Records the file of descriptors, or that there is none: a file that is not recorded is never read."""
        self._put_setting("vectors", json.dumps(None if row is None else [row.sha256, *row.state]))

    def put_identity(self, identity: str) -> None:
        """Stores what tells this index from others with the same encoder: 16 hexadecimal digits."""
        self._put_setting("identity", identity)

    def put_graph(self, sha256: str, graph: GraphRow) -> None:
        """Records a graph's file by its digest: a file that is not recorded is never loaded."""
        self._connection.execute(
            "INSERT OR REPLACE INTO graphs VALUES (?, ?, ?, ?)", (sha256, *graph.state, graph.dead)
        )

    def forget_other_graphs(self, sha256: str) -> None:
        self._connection.execute("DELETE FROM graphs WHERE sha256 != ?", (sha256,))

    def forget_removals(self, until: State) -> None:
        """Drops the record of removals up to a state, which every graph on disk knows by then."""
        self._connection.execute("DELETE FROM removals WHERE id <= ?", (until.last_removal,))

    def give_back_space(self) -> None:
        """Shrinks the file if much of it is empty; a small empty part stays and is filled by later changes."""
        free, pages = self._number("PRAGMA freelist_count"), self._number("PRAGMA page_count")
        if free > _MOST_FREE * pages:
            for _ in range(free):  # Python's sqlite3 runs one step of this statement, and each step frees one page
                self._connection.execute("PRAGMA incremental_vacuum")

    def _put_setting(self, name: str, value: object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, str(value)))

    def _put_image(self, sha256: bytes, views: Sequence[EncodedView]) -> int:
        """Adds an image, or to a known image the views that it lacks; returns its id."""
        known = self._connection.execute("SELECT id FROM images WHERE sha256 = ?", (sha256,)).fetchone()
        if known:
            image = int(known[0])
            rows = self._connection.execute("SELECT view FROM descriptors WHERE image = ?", (image,))
            present = {view for (view,) in rows}
            views = [EncodedView(view, vector) for view, vector in views if view not in present]
        else:
            image = self._insert("INSERT INTO images (sha256) VALUES (?)", (sha256,))
        query = "INSERT INTO descriptors (image, view, vector) VALUES (?, ?, ?)"
        self._connection.executemany(query, ((image, view, vector) for view, vector in views))
        return image

    def _insert(self, query: str, values: Iterable[object]) -> int:
        row = self._connection.execute(query, tuple(values)).lastrowid
        assert row is not None  # an INSERT always has one
        return row
